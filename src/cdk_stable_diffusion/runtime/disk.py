"""How much disk pods and their nodes need."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, replace

TEMPORARY_GIBIBYTES = 4
"""Space for a pod's temporary files."""

ENGINE_FILES_GIBIBYTES = 16
"""Space for the files of one task of an engine in a container of its own."""

ENGINE_ROOT_GIBIBYTES = 8
"""Space for what such a container writes beside its own files."""

ENGINE_IMAGE_GIBIBYTES = 50
"""Space for the image of such a container while it unpacks."""

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
        has_engine: Whether each pod has an engine in a container of its own.
    """

    model_cache_gibibytes: int
    image_models_gibibytes: int = 0
    has_engine: bool = False

    @property
    def cache_limit_gibibytes(self) -> int:
        """Size at which Kubernetes evicts a pod: a tenth more than its agent uses."""
        return self.model_cache_gibibytes + max(1, self.model_cache_gibibytes // 10)

    @property
    def agent_gibibytes(self) -> int:
        """What the agent of each pod asks for: its volumes."""
        engine = ENGINE_FILES_GIBIBYTES if self.has_engine else 0
        return self.cache_limit_gibibytes + TEMPORARY_GIBIBYTES + engine

    @property
    def pod_gibibytes(self) -> int:
        """What each pod asks for: its model cache, its temporary files, and its engine's."""
        return self.agent_gibibytes + (ENGINE_ROOT_GIBIBYTES if self.has_engine else 0)

    def engine_gibibytes(self, *, image: bool) -> int:
        """Return what an engine in a container of its own adds to what a node needs for a pod.

        Args:
            image: Whether its image is pulled to the node's disk.
        """
        if not self.has_engine:
            return 0
        files = ENGINE_FILES_GIBIBYTES + ENGINE_ROOT_GIBIBYTES
        return files + (ENGINE_IMAGE_GIBIBYTES if image else 0)

    def local_disk_gibibytes(self, *, pods: int) -> int:
        """Return how much disk of its own a node needs.

        The pods of a node share its disk, so that each has its own part in the sum:

            (images and logs + pods x what a pod asks for) / 0.85

        since the kubelet evicts pods once 85 % is full. Images and logs are 50 GiB, and the models
        in the image twice, as they are there packed and unpacked for a while. The image of an
        engine in a container of its own is another 50 GiB.

        Args:
            pods: Pods on the node, one for each GPU.
        """
        images = _IMAGES_GIBIBYTES + 2 * self.image_models_gibibytes
        images += ENGINE_IMAGE_GIBIBYTES if self.has_engine else 0
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
            use = replace(self, model_cache_gibibytes=model_cache_gibibytes)
            return use.local_disk_gigabytes(pods=pods)

        return bisect_right(range(1, MAX_MODEL_CACHE_GIBIBYTES + 1), gigabytes, key=needed)
