"""How a new node comes to have a runtime's container image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_GIBIBYTES_FOR_IMAGES = 50
"""Space beside the model cache on a node's own disks: images while they unpack, and logs."""


@dataclass(frozen=True, slots=True)
class ImageStart:
    """How a new node comes to have the image; made by one of its factories.

    Attributes:
        mode: The chosen mode.
    """

    mode: str

    @classmethod
    def parallel_pull(cls) -> ImageStart:
        """Pull the image with many connections, and unpack it on the instance's own NVMe disks.

        It needs no preparation, and instance types with local disks, as all in the default families
        of `GpuNodes` are.
        The disks of a node become one array that holds images, logs and the model cache.

        Returns:
            The choice.
        """
        return cls("parallel-pull")

    def _min_local_disk_gibibytes(self, model_cache_gibibytes: int) -> int:
        """Return how much local disk an instance must have.

        Args:
            model_cache_gibibytes: Size of the model cache.
        """
        return model_cache_gibibytes + _GIBIBYTES_FOR_IMAGES

    def _node_class_fields(self) -> dict[str, Any]:
        """Return the fields of the EC2NodeClass that this mode sets."""
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
