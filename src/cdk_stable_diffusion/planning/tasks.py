"""The tasks of a workload, drawn by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..contract.lanes import lanes_of
from .setup import Lanes
from .workload import Demand, Models, Workload

Numbers = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The tasks in the order in which they come.

    Attributes:
        arrivals: When each comes, in seconds. All come at once with `closed`, see there.
        models: Index of the model that each asks for.
        seconds: How long each takes on the GPU.
        closed: How many there are at any time: one comes whenever one is done, until none is left.
            Default: they come when `arrivals` says.
    """

    arrivals: Numbers
    models: Indices
    seconds: Numbers
    closed: int | None = None

    def __len__(self) -> int:
        return len(self.arrivals)


def draw(workload: Workload) -> Tasks:
    """Return the tasks of a workload; the same ones for the same seed.

    Args:
        workload: The workload.
    """
    chance = np.random.default_rng(workload.seed)
    demand = workload.demand
    parts = []
    for hour, rate in enumerate(demand.by_hour):
        count = chance.poisson(60 * rate)
        parts.append(np.sort(chance.uniform(3_600.0 * hour, 3_600.0 * (hour + 1), count)))
    arrivals = np.concatenate(parts)
    count = len(arrivals)
    return Tasks(
        arrivals=arrivals,
        models=_models(chance, workload.models, count),
        seconds=_seconds(chance, demand, count),
    )


def saturated(workload: Workload, count: int, *, at_a_time: int) -> Tasks:
    """Return tasks that never let the queue run dry.

    Args:
        workload: What they are; the rate of its demand plays no part.
        count: How many there are in all.
        at_a_time: How many wait or run at any time.
    """
    chance = np.random.default_rng(workload.seed)
    return Tasks(
        arrivals=np.zeros(count),
        models=_models(chance, workload.models, count),
        seconds=_seconds(chance, workload.demand, count),
        closed=at_a_time,
    )


def draw_lanes(tasks: Tasks, models: Models, routing: Lanes, count: int, seed: int) -> Indices:
    """Return the lane of each task.

    Args:
        tasks: The tasks.
        models: The models that they ask for.
        routing: Which models have several lanes.
        count: How many lanes there are.
        seed: Where chance begins, which stands for the hash of the tasks' ids.
    """
    chance = np.random.default_rng(seed)
    lanes = np.empty(len(tasks), dtype=np.int64)
    for index, name in enumerate(models.names):
        its = np.flatnonzero(tasks.models == index)
        choice = np.array(lanes_of(name, count, min(routing.spread.get(name, 1), count)))
        lanes[its] = choice[chance.integers(len(choice), size=len(its))]
    return lanes


def _models(chance: np.random.Generator, models: Models, count: int) -> Indices:
    return chance.choice(len(models.shares), size=count, p=models.shares).astype(np.int64)


def _seconds(chance: np.random.Generator, demand: Demand, count: int) -> Numbers:
    mean, variation = demand.seconds_per_task, demand.variation
    if variation == 0:
        return np.full(count, mean)
    # A gamma distribution: never negative, and exponential at a variation of 1.
    return chance.gamma(variation**-2, mean * variation**2, count)
