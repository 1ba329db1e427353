"""How much disk pods and their nodes need."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

TEMPORARY_GIBIBYTES = 4
"""Space for a pod's temporary files."""

MAX_MODEL_CACHE_GIBIBYTES = 10_000

_IMAGES_GIBIBYTES = 50
"""Space for images without models while they unpack, and for logs."""

USABLE_PERCENT = 85
"""The kubelet evicts pods from a disk that has images on it once less than 15 % of it is free."""

BYTES_OF_A_GIBIBYTE = 1024**3
_BYTES_OF_A_GIGABYTE = 1000**3


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskUse:
    """What a runtime needs of the disk of its nodes.

    Attributes:
        model_cache_gibibytes: What the agent of each pod may fill with models.
        image_models_gibibytes: Models that travel in the image, once for each node.
    """

    model_cache_gibibytes: int
    image_models_gibibytes: int = 0

    @property
    def cache_limit_gibibytes(self) -> int:
        """Size at which Kubernetes evicts a pod: a tenth more than its agent uses."""
        return self.model_cache_gibibytes + max(1, self.model_cache_gibibytes // 10)

    @property
    def pod_gibibytes(self) -> int:
        """What each pod asks for: its model cache and its temporary files."""
        return self.cache_limit_gibibytes + TEMPORARY_GIBIBYTES

    def local_disk_gibibytes(self, *, pods: int) -> int:
        """Return how much disk of its own a node needs.

        The pods of a node share its disk, so that each has its own part in the sum:

            (images and logs + pods x what a pod asks for) / 0.85

        since the kubelet evicts pods once 85 % is full. Images and logs are 50 GiB, and the models
        in the image twice, as they are there packed and unpacked for a while.

        Args:
            pods: Pods on the node, one for each GPU.
        """
        images = _IMAGES_GIBIBYTES + 2 * self.image_models_gibibytes
        return math.ceil((images + pods * self.pod_gibibytes) * 100 / USABLE_PERCENT)

    def local_disk_gigabytes(self, *, pods: int) -> int:
        """Return the same in gigabytes, by which EC2 and Karpenter count an instance's own disks.

        Args:
            pods: Pods on the node, one for each GPU.
        """
        size = self.local_disk_gibibytes(pods=pods) * BYTES_OF_A_GIBIBYTE
        return math.ceil(size / _BYTES_OF_A_GIGABYTE)

    def volume_gibibytes(self, *, pods: int, snapshot_gibibytes: int) -> int:
        """Return the size of a data volume that is made of a snapshot.

        What the pods need comes on top of what the images may fill, on the same terms as on local
        disks:

            (snapshot's volume + pods x what a pod asks for) / 0.85

        Args:
            pods: Pods on the node, one for each GPU.
            snapshot_gibibytes: Size of the volume that the snapshot was taken of.
        """
        full = snapshot_gibibytes + pods * self.pod_gibibytes
        return math.ceil(full * 100 / USABLE_PERCENT)

    def largest_model_cache_gibibytes(self, *, pods: int, gigabytes: int) -> int:
        """Return the largest model cache that local disks have room for; 0 if there is none.

        Args:
            pods: Pods on the node, one for each GPU.
            gigabytes: Size of the local disks.
        """

        def needed(model_cache_gibibytes: int) -> int:
            use = DiskUse(
                model_cache_gibibytes=model_cache_gibibytes,
                image_models_gibibytes=self.image_models_gibibytes,
            )
            return use.local_disk_gigabytes(pods=pods)

        return bisect_right(range(1, MAX_MODEL_CACHE_GIBIBYTES + 1), gigabytes, key=needed)
