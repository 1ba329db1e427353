"""A cluster where AWS CDK wants the interface."""

from __future__ import annotations

from typing import TypeAlias, cast

from aws_cdk import aws_eks_v2 as eks

AnyCluster: TypeAlias = eks.Cluster | eks.ICluster
"""A cluster, made or imported."""


def as_interface(cluster: AnyCluster) -> eks.ICluster:
    """Return the cluster as what `aws_eks_v2` takes.

    A `Cluster` is one, but the types of AWS CDK for Python do not say so: they leave out its
    `kubectl_provider_options`.

    Args:
        cluster: The cluster.
    """
    return cast("eks.ICluster", cluster)
