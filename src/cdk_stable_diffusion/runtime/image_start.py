"""How a new node comes to have a runtime's container image."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from aws_cdk import Size

from .._validation import A_WHOLE_NUMBER, Faults, is_token
from .disk import DiskUse
from .image_cache import ImageCache
from .image_cache.arguments import MIN_VOLUME_GIBIBYTES, check_volume_size

_PARALLEL_PULL = "parallel-pull"
_SNAPSHOT = "snapshot"

_SNAPSHOT_ID = re.compile(r"snap-[0-9a-f]{8,17}")
_A_SIZE = "a Size, such as Size.gibibytes(60)"
_A_SOURCE = "an ImageCache, the id of a snapshot such as 'snap-0123456789abcdef0', or None"

_RATES = (100, 300)
_THROUGHPUTS = (125, 1_000)
_BASELINE_IOPS = 3_000
_IOPS_OF_A_MEBIBYTE_PER_SECOND = 4
"""A gp3 volume has at most 0.25 MiB/s for each of its IOPS."""


@dataclass(frozen=True, slots=True)
class ImageStart:
    """How a new node comes to have the image; made by one of its factories.

    The two never mix. Bottlerocket deletes the images of a snapshot when another snapshotter than
    overlayfs is chosen, and an array of local disks hides the volume that they are on.

    Attributes:
        mode: The chosen mode.
        source: Where the snapshot comes from: an `ImageCache`, or its id. None for a parallel pull,
            and for an `ImageCache` that the runtime makes.
        images_gibibytes: Size of the volume that the snapshot is taken of, where it is given.
        initialization_rate: MiB/s at which the snapshot is loaded to a new volume.
        throughput: MiB/s of the volume.
    """

    mode: str
    source: ImageCache | str | None = None
    images_gibibytes: int | None = None
    initialization_rate: int = 300
    throughput: int = 600

    @classmethod
    def parallel_pull(cls) -> ImageStart:
        """Pull the image with many connections, and unpack it on the instance's own NVMe disks.

        It needs no preparation, and instance types with local disks, as all in the default families
        of `GpuNodes` are. The disks of a node become one array that holds images, logs and the
        model caches of its pods.

        Returns:
            The choice.
        """
        return cls(_PARALLEL_PULL)

    @classmethod
    def snapshot(
        cls,
        source: ImageCache | str | None = None,
        *,
        volume: Size | None = None,
        initialization_mebibytes_per_second: int = 300,
        throughput_mebibytes_per_second: int = 600,
    ) -> ImageStart:
        """Start with the image on the node's data volume, which is made of an EBS snapshot.

        For big images, and for instances without local disks; the model caches are on the volume,
        too. A new volume is loaded from the snapshot while the node starts: at 300 MiB/s, 30 GiB
        take 102 seconds, and AWS charges once for each volume. The volume is encrypted where its
        snapshot is, as that of an `ImageCache` is. EKS Auto Mode cannot do it.

        Args:
            source: An `ImageCache`, which runtimes and pools in its stack may share, or the id of
                a snapshot that you have made with Bottlerocket and overlayfs. What makes the nodes
                must be in the stack of the cache, since CloudFormation changes no value that
                another stack imports. Default: an `ImageCache` that the runtime makes of its own
                image.
            volume: Size of the volume that the snapshot is taken of, in whole GiB. Only with a
                snapshot's id, which needs it, and with the default source, where it is at least
                20 GiB. Default: what the `ImageCache` has.
            initialization_mebibytes_per_second: How fast the snapshot is loaded to a new volume,
                100 to 300. Default: 300.
            throughput_mebibytes_per_second: Throughput of the volume, 125 to 1000; what is above
                125 is charged for. Default: 600, which is what the smallest instances of the
                default families can take in, 5 Gbit/s.

        Returns:
            The choice.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        faults = Faults()
        _check_source(faults, source, volume)
        rate, throughput = initialization_mebibytes_per_second, throughput_mebibytes_per_second
        for name, value, (least, most) in (
            ("initialization_mebibytes_per_second", rate, _RATES),
            ("throughput_mebibytes_per_second", throughput, _THROUGHPUTS),
        ):
            if faults.check_type(name, value, int, A_WHOLE_NUMBER):
                faults.check(least <= value <= most, f"{name} is {value}: {least} to {most}")
        faults.raise_if_any("ImageStart.snapshot")
        images_gibibytes = None if volume is None else int(volume.to_gibibytes())
        return cls(_SNAPSHOT, source, images_gibibytes, rate, throughput)

    @property
    def is_snapshot(self) -> bool:
        """Whether nodes start from a snapshot."""
        return self.mode == _SNAPSHOT

    @property
    def _needs_cache(self) -> bool:
        """Whether the runtime makes the snapshot of its own image."""
        return self.is_snapshot and self.source is None

    def _with_cache(self, cache: ImageCache) -> ImageStart:
        """Return the same with the cache that the runtime has made.

        Args:
            cache: The cache.
        """
        return replace(self, source=cache, images_gibibytes=None)

    @property
    def _snapshot_gibibytes(self) -> int:
        """Size of the volume that the snapshot is taken of; 0 while it is not known."""
        if self.source is None or isinstance(self.source, str):
            return self.images_gibibytes or 0
        return self.source.volume_gibibytes

    def _volume_gibibytes(self, *, pods: int, use: DiskUse) -> int:
        """Return the size of the data volume of a node that starts from a snapshot.

        Args:
            pods: Pods on a node.
            use: What they need of its disk.
        """
        return use.volume_gibibytes(pods=pods, snapshot_gibibytes=self._snapshot_gibibytes)

    def _node_class_fields(self, *, pods: int, use: DiskUse) -> dict[str, Any]:
        """Return the fields of the EC2NodeClass that this mode sets.

        Args:
            pods: Pods on a node.
            use: What they need of its disk.
        """
        if self.is_snapshot:
            # No user data: Bottlerocket's own snapshotter is the one the snapshot was made with.
            return {
                "blockDeviceMappings": [
                    _volume("/dev/xvda", gibibytes=4),
                    self._data_volume(self._volume_gibibytes(pods=pods, use=use)),
                ]
            }
        return {
            # Karpenter adds the command that builds the array; another one would contradict it.
            "instanceStorePolicy": "RAID0",
            "blockDeviceMappings": [
                _volume("/dev/xvda", gibibytes=4),
                # Only what the array does not take over.
                _volume("/dev/xvdb", gibibytes=20),
            ],
            "userData": _PARALLEL_PULL_SETTINGS,
        }

    def _data_volume(self, gibibytes: int) -> dict[str, Any]:
        source = self.source
        snapshot_id = source if source is None or isinstance(source, str) else source.snapshot_id
        return {
            "deviceName": "/dev/xvdb",
            # EC2 takes no word on encryption for a volume of a snapshot: it is the snapshot's.
            "ebs": {
                "snapshotID": snapshot_id,
                "volumeSize": f"{gibibytes}Gi",
                "volumeType": "gp3",
                "iops": max(_BASELINE_IOPS, _IOPS_OF_A_MEBIBYTE_PER_SECOND * self.throughput),
                "throughput": self.throughput,
                # Without it, each first read of a block would wait for S3, for minutes in all.
                "volumeInitializationRate": self.initialization_rate,
                "deleteOnTermination": True,
            },
        }


def _check_source(faults: Faults, source: ImageCache | str | None, volume: Size | None) -> None:
    is_volume = faults.check_type("volume", volume, Size, _A_SIZE, optional=True)
    if is_volume and volume is not None:
        check_volume_size(faults, volume, least=MIN_VOLUME_GIBIBYTES if source is None else 1)
    if source is None:
        return
    if isinstance(source, str):
        faults.check(
            is_token(source) or _SNAPSHOT_ID.fullmatch(source) is not None,
            f"source is {source!r}: {_A_SOURCE}",
        )
        faults.check(
            volume is not None,
            "volume is None: the size of the volume that the snapshot was taken of, which its id "
            "does not tell",
        )
        return
    if faults.check_type("source", source, ImageCache, _A_SOURCE):
        faults.check(volume is None, "volume is given, but so is an ImageCache, which has its own")


def _volume(device: str, *, gibibytes: int) -> dict[str, Any]:
    return {
        "deviceName": device,
        "ebs": {
            "volumeSize": f"{gibibytes}Gi",
            "volumeType": "gp3",
            "encrypted": True,
            "deleteOnTermination": True,
        },
    }


_PARALLEL_PULL_SETTINGS = """\
[settings.container-runtime]
snapshotter = "soci"

[settings.container-runtime-plugins.soci-snapshotter]
pull-mode = "parallel-pull-unpack"

[settings.container-runtime-plugins.soci-snapshotter.parallel-pull-unpack]
max-concurrent-downloads-per-image = 20
concurrent-download-chunk-size = "16mb"
max-concurrent-unpacks-per-image = 12
discard-unpacked-layers = true
"""
