"""Whether a cluster can have nodes, and whether pods can run on them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from .._validation import A_WHOLE_NUMBER, Faults, is_token
from ..cluster import RuntimeCluster
from .disk import MAX_MODEL_CACHE_GIBIBYTES, DiskUse
from .families import check_instances, most_memory_gibibytes
from .gpu_nodes import GpuNodes, is_zone
from .image_cache.arguments import MAX_VOLUME_GIBIBYTES
from .model_cache import AGENT_GIBIBYTES, ModelCache
from .stacks import outermost_stack
from .timing import Timing

A_CLUSTER = "an SdEksCluster, or what SdEksCluster.from_cluster returns"

_AUTO_MODE_NAMES = ("default", "general-purpose", "system")
_AUTO_MODE_MAX_AGE_DAYS = 21


def check_nodes(
    faults: Faults, *, cluster: RuntimeCluster, name: str, nodes: GpuNodes, use: DiskUse
) -> None:
    """Check that the cluster can have such nodes, and the nodes room for their pods.

    Args:
        faults: Where to record what is wrong.
        cluster: Cluster of the nodes.
        name: Name of the pool.
        nodes: What they must be.
        use: What their pods need of a node's disk.
    """
    if cluster.compute.is_auto_mode:
        _check_auto_mode(faults, name, nodes)
    if nodes.image_start.is_snapshot:
        size = nodes.image_start._volume_gibibytes(pods=nodes.gpus_per_node, use=use)
        faults.check(
            size <= MAX_VOLUME_GIBIBYTES,
            f"model_cache_gibibytes is {use.model_cache_gibibytes}: with gpus_per_node "
            f"{nodes.gpus_per_node} a node's volume would have {size} GiB, and at most "
            f"{MAX_VOLUME_GIBIBYTES} is possible",
        )
    else:
        check_instances(faults, replace(nodes._needs(), local_disks=use))
    _check_zones(faults, cluster, nodes)


def check_cache_stack(faults: Faults, scope: Construct, nodes: GpuNodes) -> None:
    """Check that the snapshot of an `ImageCache` is used in the stack of the cache.

    Args:
        faults: Where to record what is wrong.
        scope: Where the node class is made.
        nodes: The nodes.
    """
    source = nodes.image_start.source
    if source is None or isinstance(source, str):
        return
    home, here = outermost_stack(source), outermost_stack(scope)
    faults.check(
        home is here,
        f"nodes.image_start has an ImageCache of the stack {home.node.path!r}: it must be in that "
        f"of the nodes, {here.node.path!r}, since CloudFormation changes no value that another "
        "stack imports, and the snapshot changes with the images",
    )


def check_grace(faults: Faults, nodes: GpuNodes, timing: Timing) -> None:
    """Check that nodes end no sooner than their pods.

    Args:
        faults: Where to record what is wrong.
        nodes: The nodes.
        timing: The times of a runtime on them.
    """
    faults.check(
        nodes.termination_grace_seconds >= timing.node_grace_seconds,
        f"nodes.termination_grace is {nodes.termination_grace_seconds} seconds: at least "
        f"{timing.node_grace_seconds}, since Karpenter kills pods that need longer to end, and "
        f"longest_task lets these take {timing.pod_grace_seconds}",
    )


def check_model_cache(faults: Faults, gibibytes: int) -> bool:
    """Check the size of a model cache.

    Args:
        faults: Where to record what is wrong.
        gibibytes: The size.

    Returns:
        Whether it is right.
    """
    if not faults.check_type("model_cache_gibibytes", gibibytes, int, A_WHOLE_NUMBER):
        return False
    is_right = 1 <= gibibytes <= MAX_MODEL_CACHE_GIBIBYTES
    faults.check(
        is_right, f"model_cache_gibibytes is {gibibytes}: 1 to {MAX_MODEL_CACHE_GIBIBYTES}"
    )
    return is_right


def check_memory_cache(faults: Faults, nodes: GpuNodes, cache: ModelCache, *, pods: int) -> None:
    """Check that some node has the memory that pods ask for because of what they keep of models.

    Args:
        faults: Where to record what is wrong.
        nodes: The nodes.
        cache: What each pod keeps.
        pods: How many pods a node must have room for.
    """
    most = most_memory_gibibytes(nodes._needs())
    needed = pods * (AGENT_GIBIBYTES + cache.memory_gibibytes)
    each = "a pod asks" if pods == 1 else f"the {pods} pods of a node ask"
    faults.check(
        not cache.memory_gibibytes or most is None or needed <= most,
        f"model.cache has memory_gibibytes {cache.memory_gibibytes}, so that {each} for {needed} "
        f"GiB in all, and nodes of {', '.join(nodes.families)} with at most {nodes.vcpu_limit} "
        f"vCPUs have less than {math.floor(most or 0) + 1} GiB for pods: fewer, other families, or "
        "a larger nodes.max_vcpus",
    )


def attempt(faults: Faults, action: Callable[[], None]) -> None:
    """Do what may be refused, such as taking a name; a refusal comes with the other faults.

    Args:
        faults: Where to record a refusal.
        action: Does it, or raises ValueError.
    """
    try:
        action()
    except ValueError as refusal:
        faults.check(False, str(refusal))


def check_shared(faults: Faults, nodes: GpuNodes) -> None:
    """Check what the nodes of several runtimes must say themselves.

    Args:
        faults: Where to record what is wrong.
        nodes: The nodes.
    """
    faults.check(
        nodes.max_gpus is not None,
        "nodes.max_gpus is None: the most GPUs of all runtimes on the pool together, which no "
        "runtime's Scaling can tell",
    )
    faults.check(
        not nodes.image_start._needs_cache,
        "nodes.image_start is ImageStart.snapshot(), which makes a snapshot of one runtime's "
        "image: give a pool an ImageCache with the images of its runtimes, or a snapshot's id",
    )


def _check_auto_mode(faults: Faults, name: str, nodes: GpuNodes) -> None:
    faults.check(
        not nodes.image_start.is_snapshot,
        "nodes.image_start is ImageStart.snapshot(): EKS Auto Mode starts no node from a snapshot; "
        "use ImageStart.parallel_pull(), or a cluster with Compute.karpenter()",
    )
    days = nodes.expire_after_seconds / 86_400
    faults.check(
        days <= _AUTO_MODE_MAX_AGE_DAYS,
        f"nodes.expire_after is {days:g} days: at most {_AUTO_MODE_MAX_AGE_DAYS}, after which EKS "
        "Auto Mode replaces every node",
    )
    faults.check(
        name not in _AUTO_MODE_NAMES,
        f"name is {name!r}: EKS Auto Mode has nodes of that name itself",
    )


def _check_zones(faults: Faults, cluster: RuntimeCluster, nodes: GpuNodes) -> None:
    known = [_zone(subnet) for subnet in cluster.node_subnets]
    if nodes.zones is None or None in known:
        return
    zones = sorted({zone for zone in known if zone is not None})
    for zone in nodes.zones:
        faults.check(
            is_token(zone) or zone in zones,
            f"nodes.zones names {zone!r}: the cluster has subnets in {', '.join(zones) or 'none'}",
        )


def _zone(subnet: ec2.ISubnet) -> str | None:
    """Return the zone of a subnet, or None where it is not known at synthesis."""
    try:
        zone = subnet.availability_zone
    except RuntimeError:
        # A subnet that was imported by its id alone has none, and says so in this way.
        return None
    # Until `cdk synth` has looked zones up, the CDK has made-up ones, such as "dummy1a". A refusal
    # by them would be the last word, since nothing is looked up for an app that fails.
    return zone if not is_token(zone) and is_zone(zone) else None
