"""What is wrong with a cluster that is to be prepared for runtimes."""

from __future__ import annotations

import re
from typing import Any, cast

from aws_cdk import Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks

from .._validation import Faults, is_token
from .compute import Compute
from .interface import AnyCluster
from .prepared import is_prepared
from .subnets import is_looked_up
from .versions import OLDEST_KUBERNETES

_HINT = "a cluster of aws_eks_v2, made or imported"
_VERSION = re.compile(r"(\d+)\.(\d+)")


def check_cluster(faults: Faults, cluster: AnyCluster) -> bool:
    """Record what is wrong with a cluster by itself.

    Args:
        faults: Where to record it.
        cluster: The user's cluster.

    Returns:
        Whether it can be checked further: it is a cluster.
    """
    if not faults.check_has("cluster", cluster, "cluster_name", _HINT):
        return False
    # The functions of the older module speak another language than those of this one.
    is_older = type(cluster).__module__ == "aws_cdk.aws_eks"
    faults.check(not is_older, f"cluster is of aws_eks: {_HINT}")
    if is_older or not faults.check_has("cluster", cluster, "kubectl_provider", _HINT):
        return False
    faults.check(
        not is_prepared(cluster),
        "cluster is prepared already, once is enough: give runtimes the SdEksCluster that made it, "
        "or what the first from_cluster returned",
    )
    faults.check(
        cluster.kubectl_provider is not None,
        "cluster has no kubectl provider, by which charts and manifests come into it: give "
        "kubectl_provider_options where it is made, or kubectl_provider where it is imported",
    )
    try:
        _ = cluster.cluster_security_group_id
    except RuntimeError:
        faults.check(
            False,
            "cluster has no cluster_security_group_id, the security group of its nodes: give it "
            "where the cluster is imported",
        )
    _check_version(faults, cluster)
    return True


def check_compute(
    faults: Faults, cluster: AnyCluster, compute: Compute | None, *, has_karpenter: bool
) -> None:
    """Record that a cluster launches nodes in another way than is said.

    Args:
        faults: Where to record it.
        cluster: The user's cluster.
        compute: What the user says.
        has_karpenter: Whether the cluster has a Karpenter of the user's, which may be beside Auto
            Mode.
    """
    runs_on_auto_mode = _runs_on_auto_mode(cluster)
    says_auto_mode = compute is not None and compute.is_auto_mode
    faults.check(
        not (says_auto_mode and runs_on_auto_mode is False),
        "compute is Compute.auto_mode(), but cluster is not on EKS Auto Mode: Compute.karpenter()",
    )
    faults.check(
        says_auto_mode or has_karpenter or not runs_on_auto_mode,
        "compute is Compute.karpenter(), the default, but cluster is on EKS Auto Mode: "
        "Compute.auto_mode()",
    )


def check_vpc(faults: Faults, cluster: AnyCluster, vpc: ec2.IVpc) -> None:
    """Record that a VPC is not the cluster's, as far as that is known.

    Args:
        faults: Where to record it.
        cluster: The user's cluster.
        vpc: The user's VPC.
    """
    try:
        own = cluster.vpc
    except RuntimeError:
        # It is imported without.
        return
    faults.check(
        not _are_different(vpc, own),
        f"vpc is {vpc.node.path}, but cluster is in {own.node.path}: the VPC of the cluster",
    )


def _check_version(faults: Faults, cluster: AnyCluster) -> None:
    resource = _resource(cluster)
    version = "" if resource is None else resource.version or ""
    known = None if is_token(version) else _VERSION.fullmatch(version)
    if known is not None:
        number = (int(known[1]), int(known[2]))
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        faults.check(
            number >= OLDEST_KUBERNETES, f"cluster has Kubernetes {version}: {oldest} or later"
        )


def _runs_on_auto_mode(cluster: AnyCluster) -> bool | None:
    """Return None where it is not known, as of every imported cluster."""
    resource = _resource(cluster)
    if resource is None:
        return None
    settings: dict[str, Any] = Stack.of(cluster).resolve(resource.compute_config) or {}
    enabled = settings.get("enabled", False)
    return enabled if isinstance(enabled, bool) else None


def _resource(cluster: AnyCluster) -> eks.CfnCluster | None:
    if not isinstance(cluster, eks.Cluster):
        return None
    return cast("eks.CfnCluster", cluster.node.default_child)


def _are_different(one: ec2.IVpc, other: ec2.IVpc) -> bool:
    if isinstance(one, ec2.Vpc) and isinstance(other, ec2.Vpc):
        return one.node.path != other.node.path
    ids = (one.vpc_id, other.vpc_id)
    # Before its first look-up, AWS CDK says an identifier that is none.
    is_known = not any(map(is_token, ids)) and is_looked_up(one) and is_looked_up(other)
    return is_known and ids[0] != ids[1]
