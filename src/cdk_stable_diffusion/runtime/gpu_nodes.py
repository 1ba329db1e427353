"""Which GPU nodes a runtime may launch."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from aws_cdk import Duration

from .._validation import A_WHOLE_NUMBER, Faults, is_token, shown
from .disruption import DEFAULT_BUDGETS, DisruptionBudget
from .families import Needs, check_families, check_instances
from .image_start import ImageStart
from .seconds import check_seconds, whole_seconds

_MAX_GPUS_PER_NODE = 16
_MIN_VCPUS = 4
_MAX_VCPUS = 192
_VCPUS_OF_ONE_GPU = 16
_VCPUS_EACH_OF_SEVERAL_GPUS = 24
_MAX_BUDGETS = 50
_MIN_GRACE_SECONDS = 60
_MAX_GRACE_SECONDS = 600
_ZONE = re.compile(r"[a-z]{2}(-[a-z]+)+-[0-9](-[a-z]{3}-[0-9])?[a-z]")


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
    """The GPU nodes of a pool: what they must be able to do, rather than a list of types.

    Many types that fit mean many pools of spot capacity. Each pod has one GPU, so that a node has
    as many pods as GPUs. Nodes end once they are empty and never to pack pods more tightly: a pod
    that draws would lose what it has begun. With several GPUs to a node, a node therefore stays,
    and costs, until the last of its pods has ended.

    Attributes:
        families: Instance families, all with NVIDIA GPUs and x86-64, and with local disks for
            `ImageStart.parallel_pull()`. One that is newer than this library is taken with a
            warning. Default: g5, g6, g6e and gr6.
        gpus_per_node: GPUs of each node, and so its pods: 1, 2, 4 or 8 in the families of today.
            One GPU to a node has the most spot capacity, and ends the soonest. Default: 1.
        min_gpu_memory_gibibytes: GPU memory that the models need. What is sold as 24 GB has
            22.3 GiB. Default: 20.
        max_vcpus: Largest instance by vCPU; larger ones cost more for the same GPUs. Default: 16
            for one GPU, and 24 for each of several.
        capacity: How instances are bought. Default: spot, and on-demand where there is none.
        zones: Availability zones in which nodes may be. Default: all of the cluster's subnets,
            which has the most spot capacity.
        max_gpus: Most GPUs at a time, the stop to the cost; a multiple of `gpus_per_node`. While
            nodes are replaced, or many start at once, Karpenter may pass it for some minutes. A
            `SdNodePool` needs it, since its runtimes share it. Default: the most pods of the
            runtime's `Scaling`, rounded up to whole nodes.
        consolidate_after: How long a node has no pod before it ends. Default: 60 seconds.
        expire_after: Age at which a node is replaced, at least an hour, and at most 21 days with
            EKS Auto Mode. Default: 14 days.
        budgets: How many nodes may be taken away at a time, and when. Default: all that are empty,
            and one that is out of date.
        termination_grace: Longest that a node may take to end, at most 10 minutes, so that
            `cdk destroy` does not wait in vain. Its pods need as long as their longest task, at
            most 8 minutes, and 90 seconds more. Default: 10 minutes.
        image_start: How nodes get the container image. Default: `ImageStart.parallel_pull()`.
    """

    families: tuple[str, ...] = ("g5", "g6", "g6e", "gr6")
    gpus_per_node: int = 1
    min_gpu_memory_gibibytes: int = 20
    max_vcpus: int | None = None
    capacity: Capacity = Capacity.SPOT_THEN_ON_DEMAND
    zones: tuple[str, ...] | None = None
    max_gpus: int | None = None
    consolidate_after: Duration | None = None
    expire_after: Duration | None = None
    budgets: tuple[DisruptionBudget, ...] | None = None
    termination_grace: Duration | None = None
    image_start: ImageStart = field(default_factory=ImageStart.parallel_pull)

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        self._check_instances(faults)
        self._check_max_gpus(faults)
        faults.check_type("capacity", self.capacity, Capacity, "a Capacity, such as Capacity.SPOT")
        _check_zones(faults, self.zones)
        _check_budgets(faults, self.budgets)
        faults.check_type(
            "image_start",
            self.image_start,
            ImageStart,
            "an ImageStart, such as ImageStart.parallel_pull()",
        )
        check_seconds(faults, "consolidate_after", self.consolidate_after, least=0)
        check_seconds(faults, "expire_after", self.expire_after, least=3_600)
        check_seconds(
            faults,
            "termination_grace",
            self.termination_grace,
            least=_MIN_GRACE_SECONDS,
            most=_MAX_GRACE_SECONDS,
        )
        faults.raise_if_any("GpuNodes")

    def _check_instances(self, faults: Faults) -> None:
        before = len(faults.messages)
        check_families(faults, self.families)
        gpus, memory, vcpus = self.gpus_per_node, self.min_gpu_memory_gibibytes, self.max_vcpus
        if faults.check_type("gpus_per_node", gpus, int, A_WHOLE_NUMBER):
            faults.check(
                1 <= gpus <= _MAX_GPUS_PER_NODE,
                f"gpus_per_node is {gpus}: 1 to {_MAX_GPUS_PER_NODE}",
            )
        if faults.check_type("min_gpu_memory_gibibytes", memory, int, A_WHOLE_NUMBER):
            faults.check(1 <= memory <= 1_024, f"min_gpu_memory_gibibytes is {memory}: 1 to 1024")
        if faults.check_type("max_vcpus", vcpus, int, A_WHOLE_NUMBER, optional=True):
            faults.check(
                vcpus is None or _MIN_VCPUS <= vcpus <= _MAX_VCPUS,
                f"max_vcpus is {vcpus}: {_MIN_VCPUS} to {_MAX_VCPUS}",
            )
        if len(faults.messages) == before:
            check_instances(faults, self._needs())

    def _check_max_gpus(self, faults: Faults) -> None:
        if not faults.check_type("max_gpus", self.max_gpus, int, A_WHOLE_NUMBER, optional=True):
            return
        assert self.max_gpus is not None
        faults.check(self.max_gpus >= 1, f"max_gpus is {self.max_gpus}: at least 1")
        if self.max_gpus >= 1 and isinstance(self.gpus_per_node, int) and self.gpus_per_node >= 1:
            # Karpenter launches no node that would exceed the limit, so that a rest is never used.
            faults.check(
                self.max_gpus % self.gpus_per_node == 0,
                f"max_gpus is {self.max_gpus}: a multiple of gpus_per_node, {self.gpus_per_node}",
            )

    def _needs(self) -> Needs:
        """Return what an instance must be, whatever its disks."""
        return Needs(
            families=self.families,
            gpus=self.gpus_per_node,
            gpu_gibibytes=self.min_gpu_memory_gibibytes,
            vcpus=self.vcpu_limit,
        )

    @property
    def vcpu_limit(self) -> int:
        """Most vCPUs of an instance."""
        if self.max_vcpus is not None:
            return self.max_vcpus
        if self.gpus_per_node == 1:
            return _VCPUS_OF_ONE_GPU
        return _VCPUS_EACH_OF_SEVERAL_GPUS * self.gpus_per_node

    @property
    def consolidate_after_seconds(self) -> int:
        """How long a node has no pod before it ends, in seconds."""
        return whole_seconds(self.consolidate_after, default=60)

    @property
    def expire_after_seconds(self) -> int:
        """Age at which a node is replaced, in seconds."""
        return whole_seconds(self.expire_after, default=14 * 24 * 3_600)

    @property
    def termination_grace_seconds(self) -> int:
        """Longest that a node may take to end, in seconds."""
        return whole_seconds(self.termination_grace, default=_MAX_GRACE_SECONDS)

    @property
    def disruption_budgets(self) -> tuple[DisruptionBudget, ...]:
        """How many nodes may be taken away at a time."""
        return DEFAULT_BUDGETS if self.budgets is None else tuple(self.budgets)


def is_zone(text: str) -> bool:
    """Tell whether a text has the form of an availability zone's name.

    Args:
        text: The text.
    """
    return _ZONE.fullmatch(text) is not None


def _check_zones(faults: Faults, zones: Sequence[str] | None) -> None:
    hint = "a tuple of availability zones, such as ('eu-west-1a', 'eu-west-1b')"
    if not faults.check_type("zones", zones, (tuple, list), hint, optional=True):
        return
    assert zones is not None
    faults.check(bool(zones), "zones is empty: at least one, or None for all")
    for zone in zones:
        faults.check(
            isinstance(zone, str) and (is_token(zone) or is_zone(zone)),
            f"zones names {shown(zone)}: an availability zone such as 'eu-west-1a'",
        )
    for zone, times in Counter(map(str, zones)).items():
        faults.check(times == 1, f"zones names {zone!r} {times} times: once")


def _check_budgets(faults: Faults, budgets: Sequence[DisruptionBudget] | None) -> None:
    hint = "a tuple of DisruptionBudgets, such as (DisruptionBudget.of_nodes(1),)"
    if not faults.check_type("budgets", budgets, (tuple, list), hint, optional=True):
        return
    assert budgets is not None
    faults.check(
        1 <= len(budgets) <= _MAX_BUDGETS,
        f"budgets has {len(budgets)}: 1 to {_MAX_BUDGETS}, or None for the default ones",
    )
    for budget in budgets:
        faults.check_type("budget", budget, DisruptionBudget, "a DisruptionBudget")
