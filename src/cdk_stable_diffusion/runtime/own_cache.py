"""The snapshot that a runtime makes of its own image."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Size
from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from ..cluster import RuntimeCluster
from .disk import ENGINE_IMAGE_GIBIBYTES
from .gpu_nodes import GpuNodes
from .image import RuntimeImage
from .image_cache import ImageCache
from .image_cache.arguments import check, default_volume


def check_cache(cluster: RuntimeCluster, nodes: GpuNodes, images: Sequence[RuntimeImage]) -> None:
    """Check the cache before there is a runtime to make it.

    Args:
        cluster: The runtime's cluster.
        nodes: Its nodes.
        images: The images of its pods.

    Raises:
        ValueError: Naming everything that is wrong.
    """
    check(
        where="nodes.image_start makes an ImageCache",
        images=images,
        vpc=cluster.vpc,
        subnets=_subnets(cluster),
        volume=_volume(nodes, images),
        keep_versions=2,
        timeout=None,
        instance_type=None,
    )


def create_cache(
    scope: Construct,
    id: str,
    *,
    cluster: RuntimeCluster,
    nodes: GpuNodes,
    images: Sequence[RuntimeImage],
) -> ImageCache:
    """Make the cache where the nodes are, which reach what it must reach.

    Args:
        scope: The runtime.
        id: Identifier in the runtime.
        cluster: Its cluster.
        nodes: Its nodes.
        images: The images of its pods.

    Returns:
        The cache.
    """
    return ImageCache(
        scope,
        id,
        images=images,
        vpc=cluster.vpc,
        subnets=_subnets(cluster),
        volume=_volume(nodes, images),
    )


def _subnets(cluster: RuntimeCluster) -> ec2.SubnetSelection:
    return ec2.SubnetSelection(subnets=list(cluster.node_subnets))


def _volume(nodes: GpuNodes, images: Sequence[RuntimeImage]) -> Size | None:
    gibibytes = nodes.image_start.images_gibibytes
    if gibibytes is not None:
        return Size.gibibytes(gibibytes)
    if len(images) == 1:
        return None
    # What there is by default is for one image.
    more = (len(images) - 1) * ENGINE_IMAGE_GIBIBYTES
    return Size.gibibytes(int(default_volume(images).to_gibibytes()) + more)
