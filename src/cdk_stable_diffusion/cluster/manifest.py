"""How every Kubernetes resource of this library is applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import RemovalPolicy
from aws_cdk import aws_eks_v2 as eks
from constructs import Construct, IDependable

from .interface import AnyCluster, as_interface


def apply_manifest(
    scope: Construct,
    id: str,
    *,
    cluster: AnyCluster,
    resource: Mapping[str, Any],
    after: Sequence[IDependable] = (),
    removal_policy: RemovalPolicy | None = None,
) -> eks.KubernetesManifest:
    """Apply one Kubernetes resource.

    One resource for each `KubernetesManifest`, and no pruning: `kubectl apply --prune` never
    deletes custom resources, so one that is dropped from a longer manifest would live on. With
    `overwrite`, a creation that is tried again meets what the first try left.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        cluster: Cluster that gets the resource.
        resource: The resource. Its values may hold string tokens.
        after: What must exist first. On deletion, these go after the resource.
        removal_policy: Whether the resource stays when it is no longer in a stack. Default: it is
            deleted.

    Returns:
        The manifest.
    """
    manifest = eks.KubernetesManifest(
        scope,
        id,
        cluster=as_interface(cluster),
        manifest=[dict(resource)],
        overwrite=True,
        prune=False,
        removal_policy=removal_policy,
    )
    if after:
        manifest.node.add_dependency(*after)
    return manifest


def namespace(name: str, *, pod_security: str) -> dict[str, Any]:
    """Return a Namespace.

    Args:
        name: Its name.
        pod_security: Pod Security Standard that pods must meet: "restricted" or "baseline".
    """
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                "pod-security.kubernetes.io/enforce": pod_security,
                "pod-security.kubernetes.io/warn": "restricted",
            },
        },
    }
