"""How a Kubernetes resource is applied whose name a user may change."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import CfnResource, Stack
from aws_cdk import aws_eks_v2 as eks
from constructs import Construct, IDependable

from ..cluster import RuntimeCluster
from ..cluster.manifest import apply_manifest

_DIGITS = 6


def apply_named_manifest(
    scope: Construct,
    id: str,
    *,
    cluster: RuntimeCluster,
    resource: Mapping[str, Any],
    after: Sequence[IDependable] = (),
) -> eks.KubernetesManifest:
    """Apply one Kubernetes resource, and delete it when its name changes.

    As an update, the resource would be applied under its new name and the old one left for ever:
    a pool that nobody knows, which launches nodes. So the name is part of the logical id, by which
    CloudFormation tells that one resource is there and another has gone.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        cluster: Cluster that gets the resource.
        resource: The resource.
        after: What must exist first. On deletion, these go after the resource.

    Returns:
        The manifest.
    """
    manifest = apply_manifest(scope, id, cluster=cluster.cluster, resource=resource, after=after)
    applied = manifest.node.find_child("Resource").node.default_child
    assert isinstance(applied, CfnResource)
    digest = hashlib.sha256(str(resource["metadata"]["name"]).encode()).hexdigest()
    logical_id = Stack.of(manifest).get_logical_id(applied)
    applied.override_logical_id(f"{logical_id}{digest[:_DIGITS]}")
    return manifest
