"""Looks for the cheapest setup that reaches a target."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

from ..contract.lanes import MOST_LANES
from .outcome import Outcome
from .rules import Checked, number, whole
from .setup import Autoscaling, CacheSizes, Lanes, Setup
from .simulation import simulate
from .tasks import Tasks, draw
from .workload import Workload

_AS_CHEAP = 1.01


@dataclass(frozen=True, kw_only=True)
class Target(Checked):
    """What is to be reached: so many percent of the tasks are done after so many seconds.

    Attributes:
        seconds: Longest time from a request until its pictures are drawn.
        percent: For how many percent of the tasks. Default: 95.
    """

    seconds: float = number(above=True)
    percent: float = number(95.0, least=1, most=100)


@dataclass(frozen=True, kw_only=True)
class Grid(Checked):
    """What to search through: every combination. What is not given is derived from the setup.

    Attributes:
        target_latency_seconds: For `Scaling(target_latency=…)`. Default: a quarter, a half and the
            whole of the target.
        min_replicas: For `Scaling(min_replicas=…)`. Default: the setup's, and one more.
        max_replicas: For `Scaling(max_replicas=…)`. Default: half, once and twice the setup's.
        lanes_per_replica: Lanes for each of the most replicas. Default: 2 and 4.
        ram_gibibytes: Of models in a replica's host memory. Default: the setup's.
        disk_gibibytes: Of models on a replica's disk. Default: the setup's.
    """

    target_latency_seconds: tuple[float, ...] | None = number(None, least=1, many=True)
    min_replicas: tuple[int, ...] | None = whole(None, most=1_000, many=True)
    max_replicas: tuple[int, ...] | None = whole(None, least=1, most=1_000, many=True)
    lanes_per_replica: tuple[int, ...] | None = whole(None, least=1, most=MOST_LANES, many=True)
    ram_gibibytes: tuple[float, ...] | None = number(None, many=True)
    disk_gibibytes: tuple[float, ...] | None = number(None, many=True)

    def setups(self, workload: Workload, setup: Setup, target: Target) -> Iterator[Setup]:
        """Return every setup to try, from the smallest to the largest.

        Args:
            workload: The workload.
            setup: What all have that is not searched through.
            target: The target.
        """
        scaling = setup.autoscaling
        fewest, most = scaling.min_replicas, scaling.max_replicas
        seconds = workload.demand.seconds_per_task
        # A replica for every task is the most that there can be: a shorter time changes nothing.
        latencies = {max(target.seconds * part, seconds, 1.0) for part in (0.25, 0.5, 1)}
        for ram, disk, lanes, largest, smallest, latency in product(
            sorted(self.ram_gibibytes or (setup.cache.ram_gibibytes,)),
            sorted(self.disk_gibibytes or (setup.cache.disk_gibibytes,)),
            sorted(self.lanes_per_replica or (2, 4)),
            sorted(self.max_replicas or {max(1, most // 2), most, min(2 * most, 1_000)}),
            sorted(self.min_replicas or {fewest, fewest + 1}),
            sorted(self.target_latency_seconds or latencies),
        ):
            if smallest > largest:
                continue
            yield replace(
                setup,
                name="proposed",
                routing=_with_lanes(setup, min(lanes * largest, MOST_LANES)),
                cache=CacheSizes(
                    gpu_gibibytes=setup.cache.gpu_gibibytes, ram_gibibytes=ram, disk_gibibytes=disk
                ),
                autoscaling=Autoscaling.for_target(
                    latency,
                    seconds,
                    min_replicas=smallest,
                    max_replicas=largest,
                    cooldown_seconds=scaling.cooldown_seconds,
                    stabilization_seconds=scaling.stabilization_seconds,
                ),
                target_latency_seconds=latency,
            )


def _with_lanes(setup: Setup, count: int) -> Lanes:
    routing = setup.routing if isinstance(setup.routing, Lanes) else Lanes()
    return replace(routing, count=count)


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """The best setup that was found.

    Attributes:
        outcome: What becomes of the workload with it.
        reaches: Whether it reaches the target.
        again_seconds: After how long as many percent of the tasks are done on another day like
            this one: with the next seed.
        tried: How many setups were tried.
    """

    outcome: Outcome
    reaches: bool
    again_seconds: float
    tried: int


def propose(
    workload: Workload,
    setup: Setup,
    target: Target,
    grid: Grid | None = None,
    *,
    tasks: Tasks | None = None,
    on_try: Callable[[int, int], None] | None = None,
) -> Proposal:
    """Return the cheapest setup that reaches a target, or the one that comes nearest to it.

    Of those that cost the same within a percent it is the smallest: less memory and disk, fewer
    lanes, fewer replicas.

    Args:
        workload: The workload.
        setup: What all setups have that is not searched through.
        target: The target.
        grid: What to search through. Default: see `Grid`.
        tasks: The tasks. Default: drawn from the workload.
        on_try: Called after each try with how many were tried, and of how many.
    """
    tasks = draw(workload) if tasks is None else tasks
    setups = list((grid or Grid()).setups(workload, setup, target))
    outcomes = []
    for each in setups:
        outcomes.append(simulate(workload, each, tasks))
        if on_try:
            on_try(len(outcomes), len(setups))

    def seconds(outcome: Outcome) -> float:
        return outcome.latency_percentile(target.percent)

    reaching = [each for each in outcomes if seconds(each) <= target.seconds]
    if reaching:
        least = min(each.dollars for each in reaching)
        best = next(each for each in reaching if each.dollars <= _AS_CHEAP * least)
    else:
        best = min(outcomes, key=seconds)
    another_day = replace(workload, seed=workload.seed + 1)
    return Proposal(
        outcome=best,
        reaches=bool(reaching),
        again_seconds=seconds(simulate(another_day, best.setup)),
        tried=len(outcomes),
    )
