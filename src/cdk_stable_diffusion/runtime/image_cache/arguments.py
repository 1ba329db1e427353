"""The checks of a cache's arguments."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aws_cdk import Duration, Size, SizeRoundingBehavior
from aws_cdk import aws_ec2 as ec2
from jsii.errors import JSIIError

from ..._validation import A_WHOLE_NUMBER, Faults, is_token
from ...cluster.subnets import find
from ...image_cache_handler.references import ImageReference
from ..disk import BYTES_OF_A_GIBIBYTE, USABLE_PERCENT
from ..image import RuntimeImage
from ..seconds import check_seconds

DEFAULT_TIMEOUT_MINUTES = 45

MIN_VOLUME_GIBIBYTES = 20
MAX_VOLUME_GIBIBYTES = 16_384

_DEFAULT_GIBIBYTES = 60
_MIN_VERSIONS = 2
_MAX_VERSIONS = 10
_MIN_MINUTES = 25
_MAX_MINUTES = 55


def check(
    *,
    where: str,
    images: Sequence[RuntimeImage],
    vpc: ec2.IVpc,
    subnets: ec2.SubnetSelection | None,
    volume: Size | None,
    keep_versions: int,
    timeout: Duration | None,
    instance_type: ec2.InstanceType | None,
) -> None:
    """Check all arguments.

    Args:
        where: The cache.
        images: See `ImageCache`.
        vpc: See `ImageCache`.
        subnets: See `ImageCache`.
        volume: See `ImageCache`.
        keep_versions: See `ImageCache`.
        timeout: See `ImageCache`.
        instance_type: See `ImageCache`.

    Raises:
        ValueError: Naming every argument that is wrong.
    """
    faults = Faults()
    _check_images(faults, images)
    _check_network(faults, vpc, subnets)
    _check_volume(faults, volume, images)
    if faults.check_type("keep_versions", keep_versions, int, A_WHOLE_NUMBER):
        faults.check(
            _MIN_VERSIONS <= keep_versions <= _MAX_VERSIONS,
            f"keep_versions is {keep_versions}: {_MIN_VERSIONS} to {_MAX_VERSIONS}, since a "
            "rollback needs the one before",
        )
    check_seconds(faults, "timeout", timeout, least=_MIN_MINUTES * 60, most=_MAX_MINUTES * 60)
    hint = "an InstanceType, such as ec2.InstanceType('m6i.xlarge')"
    if faults.check_type("instance_type", instance_type, ec2.InstanceType, hint, optional=True):
        assert instance_type is not None
        _check_instance_type(faults, instance_type, hint)
    faults.raise_if_any(where)


def default_volume(images: Sequence[RuntimeImage]) -> Size:
    """Return the size of a volume that has room for the images.

    Args:
        images: The images.
    """
    return Size.gibibytes(_DEFAULT_GIBIBYTES + _models_gibibytes(images))


def check_volume_size(faults: Faults, volume: Size, *, least: int, why: str = "") -> None:
    """Check the size of the volume that a snapshot is taken of.

    Args:
        faults: Where to record what is wrong.
        volume: The size.
        least: Fewest GiB.
        why: Why there must be as many.
    """
    if volume.is_unresolved():
        faults.check(False, "volume is a token: it must be known at synthesis")
        return
    gibibytes = float(volume.to_gibibytes(rounding=SizeRoundingBehavior.NONE))
    is_whole = gibibytes.is_integer()
    faults.check(
        is_whole and least <= gibibytes <= MAX_VOLUME_GIBIBYTES,
        f"volume is {f'{gibibytes:.0f} GiB' if is_whole else f'{gibibytes * 1_024:g} MiB'}: whole "
        f"GiB, {least} to {MAX_VOLUME_GIBIBYTES}{why}",
    )


def _check_images(faults: Faults, images: Sequence[RuntimeImage]) -> None:
    hint = "images, such as [RuntimeImage.from_package()]"
    if not faults.check_type("images", images, (list, tuple), hint):
        return
    faults.check(bool(images), f"images is empty: {hint}")
    for index, image in enumerate(images):
        name = f"images[{index}]"
        known = faults.check_type(
            name, image, RuntimeImage, "an image, such as RuntimeImage.from_package()"
        )
        if known and image.uri is not None and not is_token(image.uri):
            _check_reference(faults, name, image.uri)


def _check_reference(faults: Faults, name: str, uri: str) -> None:
    try:
        reference = ImageReference.parse(uri)
    except ValueError as error:
        faults.check(False, f"{name}: {error}")
        return
    faults.check(
        reference.digest is not None,
        f"{name} is {uri!r}, which a tag names: when that moves, the snapshot is stale and nobody "
        "notices; name it by digest, as in name@sha256:...",
    )


def _check_network(faults: Faults, vpc: ec2.IVpc, subnets: ec2.SubnetSelection | None) -> None:
    hint = "a SubnetSelection, such as ec2.SubnetSelection(subnet_group_name='Builders')"
    right = faults.check_type("subnets", subnets, ec2.SubnetSelection, hint, optional=True)
    if not faults.check_has("vpc", vpc, "private_subnets", "a VPC, such as an ec2.Vpc"):
        return
    if right or subnets is None:
        try:
            selected = find(vpc, subnets)
            # Until `cdk synth` has looked the VPC up, it has made-up subnets or none. A refusal
            # would be the last word, since nothing is looked up for an app that fails.
            found = bool(selected.subnet_ids) or bool(selected.is_pending_lookup)
        except (JSIIError, RuntimeError):
            found = False
        faults.check(
            found,
            f"{'vpc' if subnets is None else 'subnets'}: there are no such subnets, from which an "
            "instance reaches AWS services",
        )


def _check_instance_type(faults: Faults, instance_type: ec2.InstanceType, hint: str) -> None:
    name = instance_type.to_string()
    if is_token(name):
        return
    try:
        architecture = instance_type.architecture
    except RuntimeError:
        # So AWS CDK says that it is no type.
        faults.check(False, f"instance_type is {name!r}: {hint}")
        return
    faults.check(
        architecture == ec2.InstanceArchitecture.X86_64,
        f"instance_type is {name!r}: one of the x86-64 architecture, as GPU nodes are",
    )


def _models_gibibytes(images: Sequence[RuntimeImage]) -> int:
    """Return what the models in images take, of a disk that the kubelet keeps partly free.

    Weights cannot be compressed, so they are there packed and unpacked in the same size.
    """
    known = {image for image in images if isinstance(image, RuntimeImage)}
    gibibytes = 2 * sum(image.model_bytes for image in known) / BYTES_OF_A_GIBIBYTE
    return math.ceil(gibibytes * 100 / USABLE_PERCENT)


def _check_volume(faults: Faults, volume: Size | None, images: Sequence[RuntimeImage]) -> None:
    hint = "a Size, such as Size.gibibytes(60)"
    if not faults.check_type("volume", volume, Size, hint, optional=True):
        return
    assert volume is not None
    models = _models_gibibytes(images) if isinstance(images, (list, tuple)) else 0
    check_volume_size(
        faults,
        volume,
        least=MIN_VOLUME_GIBIBYTES + models,
        why=f", since the models in the images take {models}" if models else "",
    )
