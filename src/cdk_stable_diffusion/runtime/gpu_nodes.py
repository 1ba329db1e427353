"""Which GPU nodes a runtime may launch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from aws_cdk import Duration

from .._validation import A_WHOLE_NUMBER, Faults
from .families import check_families, check_gpu_memory
from .image_start import ImageStart
from .seconds import check_seconds, whole_seconds


class Capacity(Enum):
    """How instances are bought.

    Both kinds are in one pool, since Karpenter falls back within a pool at once, but not reliably
    from one pool to another.
    """

    SPOT_THEN_ON_DEMAND = ("spot", "on-demand")
    """Spot while there is any, on-demand otherwise."""
    SPOT = ("spot",)
    """Spot only: the cheapest, and tasks wait while there is none."""
    ON_DEMAND = ("on-demand",)
    """On-demand only."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GpuNodes:
    """The GPU nodes of one runtime: what they must be able to do, rather than a list of types.

    Many types that fit mean many pools of spot capacity. Each node has one GPU and one pod.

    Attributes:
        families: Instance families, all with NVIDIA GPUs, x86-64 and local disks. Default: g5, g6,
            g6e and gr6.
        min_gpu_memory_gibibytes: GPU memory that the models need. What is sold as 24 GB has
            22.3 GiB. Default: 20.
        max_vcpus: Largest instance by vCPU; larger ones cost more for the same GPU. Default: 16.
        capacity: How instances are bought. Default: spot, and on-demand where there is none.
        max_gpus: Most GPUs at a time, the stop to the cost. Default: the most pods of the
            runtime's `Scaling`.
        consolidate_after: How long a node has no pod before it ends. Default: 60 seconds.
        expire_after: Age at which a node is replaced, at least an hour. Default: 14 days.
        image_start: How nodes get the container image. Default: `ImageStart.parallel_pull()`.
    """

    families: tuple[str, ...] = ("g5", "g6", "g6e", "gr6")
    min_gpu_memory_gibibytes: int = 20
    max_vcpus: int = 16
    capacity: Capacity = Capacity.SPOT_THEN_ON_DEMAND
    max_gpus: int | None = None
    consolidate_after: Duration | None = None
    expire_after: Duration | None = None
    image_start: ImageStart = field(default_factory=ImageStart.parallel_pull)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        knows_families = check_families(faults, self.families)
        memory = self.min_gpu_memory_gibibytes
        if faults.check_type("min_gpu_memory_gibibytes", memory, int, A_WHOLE_NUMBER):
            is_memory = 1 <= memory <= 1_024
            faults.check(is_memory, f"min_gpu_memory_gibibytes is {memory}: 1 to 1024")
            if is_memory and knows_families:
                check_gpu_memory(faults, self.families, memory)
        if faults.check_type("max_vcpus", self.max_vcpus, int, A_WHOLE_NUMBER):
            faults.check(4 <= self.max_vcpus <= 192, f"max_vcpus is {self.max_vcpus}: 4 to 192")
        if faults.check_type("max_gpus", self.max_gpus, int, A_WHOLE_NUMBER, optional=True):
            faults.check(
                self.max_gpus is None or self.max_gpus >= 1,
                f"max_gpus is {self.max_gpus}: at least 1",
            )
        faults.check_type("capacity", self.capacity, Capacity, "a Capacity, such as Capacity.SPOT")
        faults.check_type(
            "image_start",
            self.image_start,
            ImageStart,
            "an ImageStart, such as ImageStart.parallel_pull()",
        )
        check_seconds(faults, "consolidate_after", self.consolidate_after, least=0)
        check_seconds(faults, "expire_after", self.expire_after, least=3_600)
        faults.raise_if_any("GpuNodes")

    @property
    def consolidate_after_seconds(self) -> int:
        """How long a node has no pod before it ends, in seconds."""
        return whole_seconds(self.consolidate_after, default=60)

    @property
    def expire_after_seconds(self) -> int:
        """Age at which a node is replaced, in seconds."""
        return whole_seconds(self.expire_after, default=14 * 24 * 3_600)
