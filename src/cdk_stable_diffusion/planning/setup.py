"""The ways to set the service up that are compared: routing, cache, scaling."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..contract.lanes import MOST_LANES, default_lanes
from .rules import Checked, number, whole


@dataclass(frozen=True, kw_only=True)
class CacheSizes(Checked):
    """How much of models a replica keeps.

    Attributes:
        gpu_gibibytes: On the GPU. Default: the largest model, and no other beside it.
        ram_gibibytes: In the host's memory. Default: nothing.
        disk_gibibytes: On its disk. Default: nothing.
    """

    gpu_gibibytes: float | None = number(None, above=True)
    ram_gibibytes: float = number(0.0)
    disk_gibibytes: float = number(0.0)

    def rooms(self, largest: float) -> tuple[float, float, float]:
        """Return what GPU, host memory and disk hold.

        Args:
            largest: Gibibytes of the largest model.
        """
        gpu = largest if self.gpu_gibibytes is None else self.gpu_gibibytes
        return gpu, self.ram_gibibytes, self.disk_gibibytes


@dataclass(frozen=True, kw_only=True)
class SharedQueue:
    """All replicas take the oldest task of one queue."""


@dataclass(frozen=True, kw_only=True)
class Lanes(Checked):
    """Several queues, and home lanes for each replica.

    Attributes:
        count: How many. Default: what `default_lanes` of the contract says for the most replicas.
        oldest_every_seconds: How often at least a replica takes from each of its home lanes, and
            the oldest of the tasks that it holds. Default: 30.
        steal_after_seconds: How long tasks wait in a lane until a replica may take them that is not
            its home. Default: 0.5.
        spread: Models with several lanes, and how many. Default: none.
    """

    count: int | None = whole(None, least=1, most=MOST_LANES)
    oldest_every_seconds: float = number(30.0)
    steal_after_seconds: float = number(0.5)
    spread: Mapping[str, int] = field(default_factory=dict)

    def count_for(self, replicas: int) -> int:
        """Return how many lanes there are.

        Args:
            replicas: The most replicas.
        """
        return self.count or default_lanes(replicas)


@dataclass(frozen=True, kw_only=True)
class Autoscaling(Checked):
    """How the number of replicas follows the tasks, as KEDA and Kubernetes do it.

    Attributes:
        tasks_per_replica: How many tasks, waiting or running, one replica is for.
        min_replicas: Fewest replicas. Default: 0.
        max_replicas: Most replicas. Default: 10.
        cooldown_seconds: How long there must be no task before the last one ends. Default: 300.
        polling_seconds: How often KEDA looks, which matters while there is none. Default: 10.
        stabilization_seconds: How long fewer must suffice before one of several ends. Default: 300.
        shrink_percent: How many of them may end at most within `shrink_seconds`. Default: 50.
        shrink_seconds: See `shrink_percent`. Default: 60.
    """

    tasks_per_replica: int = whole(least=1)
    min_replicas: int = whole(0, most=1_000)
    max_replicas: int = whole(10, least=1, most=1_000)
    cooldown_seconds: float = number(300.0)
    polling_seconds: float = number(10.0, least=1)
    stabilization_seconds: float = number(300.0, most=3_600)
    shrink_percent: float = number(50.0, least=1, most=100)
    shrink_seconds: float = number(60.0, least=15, most=1_800)

    def _faults(self) -> list[str]:
        if self.min_replicas <= self.max_replicas:
            return []
        return [f"min_replicas is {self.min_replicas}: at most max_replicas, {self.max_replicas}"]

    @classmethod
    def for_target(
        cls, target_latency_seconds: float, seconds_per_task: float, **others: float
    ) -> Autoscaling:
        """Return what `Scaling(target_latency=…, seconds_per_image=…)` makes of a runtime.

        Args:
            target_latency_seconds: Longest time from request to result once enough replicas run.
            seconds_per_task: How long one task takes.
            **others: The other fields.
        """
        tasks = max(1, math.floor(target_latency_seconds / seconds_per_task))
        return cls(tasks_per_replica=tasks, **others)  # type: ignore[arg-type]

    @classmethod
    def fixed(cls, replicas: int) -> Autoscaling:
        """Return a number of replicas that never changes."""
        return cls(tasks_per_replica=1, min_replicas=replicas, max_replicas=replicas)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """One way to set the service up.

    Attributes:
        name: What the tables call it.
        routing: How tasks come to replicas.
        cache: What replicas keep.
        autoscaling: How many there are.
        lookahead_seconds: How long before it is free a replica takes the next task and fetches its
            model, if none is idle. Default: 2, as the agent does.
        overhead_seconds: How long the GPU waits after each task for what the agent does without
            it, such as storing pictures. Default: 0, since the agent does that meanwhile.
        target_latency_seconds: What `autoscaling` was made from, to say it again. Default: unknown.
    """

    name: str
    routing: SharedQueue | Lanes
    cache: CacheSizes
    autoscaling: Autoscaling
    lookahead_seconds: float = 2.0
    overhead_seconds: float = 0.0
    target_latency_seconds: float | None = None


def upstream_defaults() -> Setup:
    """Return the defaults of AWS's guidance for asynchronous image generation.

    One queue, a node that keeps one model on the GPU and nothing else, and the values of its Helm
    chart with what Kubernetes does where it says nothing. `scaleOnInFlight: false` stands where
    KEDA does not look for it, so that tasks in flight count. Its agent does one thing after
    another, which was measured to take 0.22 to 0.27 seconds of each task beside the GPU's.
    """
    return Setup(
        name="upstream defaults",
        routing=SharedQueue(),
        cache=CacheSizes(),
        autoscaling=Autoscaling(
            tasks_per_replica=10,
            max_replicas=20,
            cooldown_seconds=60,
            polling_seconds=1,
            shrink_percent=100,
            shrink_seconds=15,
        ),
        lookahead_seconds=0.0,
        overhead_seconds=0.23,
    )
