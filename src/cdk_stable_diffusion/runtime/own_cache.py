"""The snapshot that a runtime makes of its own image."""

from __future__ import annotations

from aws_cdk import Size
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from ..cluster import RuntimeCluster
from .gpu_nodes import GpuNodes
from .image import RuntimeImage
from .image_cache import ImageCache
from .image_cache.arguments import check


def check_cache(cluster: RuntimeCluster, nodes: GpuNodes, image: RuntimeImage) -> None:
    """Check the cache before there is a runtime to make it.

    Args:
        cluster: The runtime's cluster.
        nodes: Its nodes.
        image: Its image.

    Raises:
        ValueError: Naming everything that is wrong.
    """
    check(
        where="nodes.image_start makes an ImageCache",
        images=[image],
        vpc=cluster.vpc,
        subnets=_subnets(cluster),
        volume=_volume(nodes),
        keep_versions=2,
        timeout=None,
        instance_type=None,
    )


def create_cache(
    scope: Construct, id: str, *, cluster: RuntimeCluster, nodes: GpuNodes, image: RuntimeImage
) -> ImageCache:
    """Make the cache where the nodes are, which reach what it must reach.

    Args:
        scope: The runtime.
        id: Identifier in the runtime.
        cluster: Its cluster.
        nodes: Its nodes.
        image: Its image.

    Returns:
        The cache.
    """
    return ImageCache(
        scope,
        id,
        images=[image],
        vpc=cluster.vpc,
        subnets=_subnets(cluster),
        volume=_volume(nodes),
    )


def _subnets(cluster: RuntimeCluster) -> ec2.SubnetSelection:
    return ec2.SubnetSelection(subnets=list(cluster.node_subnets))


def _volume(nodes: GpuNodes) -> Size | None:
    gibibytes = nodes.image_start.images_gibibytes
    return None if gibibytes is None else Size.gibibytes(gibibytes)
