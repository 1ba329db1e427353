"""What a service has to do, and what it does it with, whichever way it is set up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .rules import Checked, number, whole

_MOST_HOURS = 24 * 366
_MOST_TASKS = 20_000_000


@dataclass(frozen=True, kw_only=True)
class Demand(Checked):
    """How many tasks come, and how long each takes.

    Attributes:
        tasks_per_minute: How many tasks come a minute on average, hour by hour; the list starts
            anew when it has ended. They come independently of each other (a Poisson process).
        hours: How long to look. Default: as long as the list, or a day where it has one number.
        pictures_per_task: Pictures of each task. Default: 1.
        seconds_per_picture: How long the GPU takes for a picture, with its model loaded.
        variation: Coefficient of variation of the time that a task takes: 0 is always the same, 1
            as widely spread as an exponential distribution. Default: 0.
    """

    tasks_per_minute: tuple[float, ...] = number(many=True)
    seconds_per_picture: float = number(above=True)
    hours: int | None = whole(None, least=1, most=_MOST_HOURS)
    pictures_per_task: int = whole(1, least=1, most=64)
    variation: float = number(0.0, most=5)

    def _faults(self) -> list[str]:
        if self.tasks == 0:
            return ["tasks_per_minute is 0 in every hour: there is nothing to simulate"]
        if self.tasks > _MOST_TASKS:
            return [f"tasks_per_minute makes {self.tasks:,.0f} tasks: at most {_MOST_TASKS:,}"]
        return []

    @property
    def by_hour(self) -> tuple[float, ...]:
        """The tasks a minute of every hour."""
        given = self.tasks_per_minute
        hours = self.hours or (len(given) if len(given) > 1 else 24)
        return tuple(given[hour % len(given)] for hour in range(hours))

    @property
    def seconds(self) -> float:
        """How long to look."""
        return 3_600.0 * len(self.by_hour)

    @property
    def tasks(self) -> float:
        """How many tasks come, on average."""
        return 60.0 * sum(self.by_hour)

    @property
    def seconds_per_task(self) -> float:
        """How long the GPU takes for a task, on average."""
        return self.pictures_per_task * self.seconds_per_picture


@dataclass(frozen=True, kw_only=True)
class Models:
    """The models, and how much each is asked for.

    Attributes:
        names: Their names.
        shares: The share of the tasks that each has; they add up to 1.
        gibibytes: The size of each.
    """

    names: tuple[str, ...]
    shares: tuple[float, ...]
    gibibytes: tuple[float, ...]

    @classmethod
    def zipf(cls, count: int, *, exponent: float = 0.9, gibibytes: float = 6.5) -> Models:
        """Return models of one size, the n-th of which has a share in proportion to n**-exponent.

        Args:
            count: How many.
            exponent: How uneven the shares are: 0 is even. Default: 0.9.
            gibibytes: Size of each. Default: 6.5, that of SDXL in half precision.
        """
        digits = len(str(count))
        names = [f"model-{each:0{digits}}" for each in range(1, count + 1)]
        weights = [float(each) ** -exponent for each in range(1, count + 1)]
        return cls.named(names, weights, [gibibytes] * count)

    @classmethod
    def named(
        cls, names: Sequence[str], weights: Sequence[float], gibibytes: Sequence[float]
    ) -> Models:
        """Return models by name.

        Args:
            names: Their names.
            weights: How much each is asked for, in any unit.
            gibibytes: Their sizes.
        """
        total = sum(weights)
        shares = tuple(weight / total for weight in weights)
        return cls(names=tuple(names), shares=shares, gibibytes=tuple(gibibytes))


@dataclass(frozen=True, kw_only=True)
class Loading(Checked):
    """How long it takes until a model is on the GPU, from where it was.

    The times are those of a model of `gibibytes`; others take longer or shorter in proportion.

    Attributes:
        s3_seconds: From S3.
        disk_seconds: From the replica's disk.
        ram_seconds: From the host's memory.
        gibibytes: Size of the model that these are the times of. Default: that of the largest one.
    """

    s3_seconds: float = number()
    disk_seconds: float = number()
    ram_seconds: float = number()
    gibibytes: float | None = number(None, above=True)

    def _faults(self) -> list[str]:
        if self.ram_seconds <= self.disk_seconds <= self.s3_seconds:
            return []
        return [
            f"ram_seconds, disk_seconds and s3_seconds are {self.ram_seconds:g}, "
            f"{self.disk_seconds:g} and {self.s3_seconds:g}: none may be less than the one before"
        ]

    def by_tier(self, sizes: Sequence[float]) -> tuple[tuple[float, ...], ...]:
        """Return for each tier, the nearest first, how long each model takes from it to the GPU.

        Args:
            sizes: Gibibytes of the models.
        """
        reference = self.gibibytes or max(sizes)
        seconds = (0.0, self.ram_seconds, self.disk_seconds, self.s3_seconds)
        return tuple(tuple(each * size / reference for size in sizes) for each in seconds)


@dataclass(frozen=True, kw_only=True)
class Nodes(Checked):
    """The GPU nodes, one pod on each.

    Attributes:
        gpu_hour_dollars: What an hour of a node costs.
        start_seconds: From the request for a node until its pod takes tasks. Default: 120.
        pod_start_seconds: The same on a node that is there already. Default: 15.
        consolidate_after_seconds: How long a node without a pod stays. Default: 60.
        spot_reclaims_per_hour: How often an hour a node is taken away, on average. Default: 0.
    """

    gpu_hour_dollars: float = number()
    start_seconds: float = number(120.0)
    pod_start_seconds: float = number(15.0)
    consolidate_after_seconds: float = number(60.0)
    spot_reclaims_per_hour: float = number(0.0, most=60)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What a service has to do, and what with.

    Attributes:
        demand: The tasks.
        models: The models that they ask for.
        loading: How long it takes to load one.
        nodes: The GPU nodes.
        seed: Where chance begins: the same seed gives the same figures. Default: 1.
    """

    demand: Demand
    models: Models
    loading: Loading
    nodes: Nodes
    seed: int = 1

    def facts(self) -> dict[str, Any]:
        """Return in a few figures what it is."""
        return {
            "tasks": round(self.demand.tasks),
            "hours": len(self.demand.by_hour),
            "models": len(self.models.names),
            "seconds_per_task": self.demand.seconds_per_task,
        }
