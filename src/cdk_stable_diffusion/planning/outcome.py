"""What became of a workload, in figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .cache import DISK, RAM, S3
from .fleet import Paid
from .setup import Setup
from .tasks import Indices, Numbers
from .workload import Workload

_HOUR = 3_600.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """What became of a workload with one setup. Times are in seconds from the beginning.

    Attributes:
        setup: The setup.
        workload: The workload.
        arrivals: When each task came.
        models: Model of each task.
        seconds: How long the GPU drew for it.
        begun: When the GPU began to draw it.
        done: When its pictures were stored.
        loads: How many tasks found their model on the GPU, in the host's memory, on the disk, and
            in S3 only.
        stolen: How many tasks were taken from lanes that are not the replica's own.
        interrupted: How often a task began again, since its node was taken away.
        paid: The nodes.
        end: When it ended.
    """

    setup: Setup
    workload: Workload
    arrivals: Numbers
    models: Indices
    seconds: Numbers
    begun: Numbers
    done: Numbers
    loads: tuple[int, ...]
    stolen: int
    interrupted: int
    paid: tuple[Paid, ...]
    end: float

    @property
    def waiting(self) -> Numbers:
        """From each request until the GPU drew: in the queue, and for its model."""
        return self.begun - self.arrivals

    @property
    def latency(self) -> Numbers:
        """From each request until its pictures were stored."""
        return self.done - self.arrivals

    def waiting_percentile(self, percent: float) -> float:
        """Return what so many percent of the tasks waited at most."""
        return float(np.percentile(self.waiting, percent)) if len(self.arrivals) else 0.0

    def latency_percentile(self, percent: float) -> float:
        """Return after how long so many percent of the tasks were done."""
        return float(np.percentile(self.latency, percent)) if len(self.arrivals) else 0.0

    @property
    def loads_per_1000(self) -> float:
        """How often a model was loaded to the GPU, from wherever, for 1,000 tasks."""
        return self._per_1000(self.loads[RAM] + self.loads[DISK] + self.loads[S3])

    @property
    def downloads_per_1000(self) -> float:
        """How often a model came from S3, for 1,000 tasks."""
        return self._per_1000(self.loads[S3])

    @property
    def tasks_per_second(self) -> float:
        """Tasks done, without the first tenth of them, in which the caches fill."""
        count = len(self.done)
        if count < 2:
            return 0.0
        done = np.sort(self.done)
        first = count // 10
        seconds = done[-1] - done[first]
        return (count - 1 - first) / float(seconds) if seconds > 0 else 0.0

    @property
    def gpu_hours(self) -> float:
        """What was paid for."""
        return sum(each.until - each.since for each in self.paid) / _HOUR

    @property
    def dollars(self) -> float:
        """What the nodes cost."""
        return self.gpu_hours * self.workload.nodes.gpu_hour_dollars

    @property
    def dollars_per_1000_pictures(self) -> float:
        """What the nodes cost for 1,000 pictures."""
        return self._per_1000(self.dollars) / self.workload.demand.pictures_per_task

    @property
    def useful_share(self) -> float:
        """The share of the GPUs' time in which they drew."""
        drawing = float(self.seconds.sum()) / _HOUR
        return drawing / self.gpu_hours if self.gpu_hours else 0.0

    def waiting_by_hour(self, percent: float) -> list[float | None]:
        """Return the percentile of the waiting times of each hour's tasks; None where none came.

        Args:
            percent: Which percentile.
        """
        hours = (self.arrivals // _HOUR).astype(np.int64)
        # As many as the demand has hours: what comes, comes within them.
        return [
            float(np.percentile(its, percent)) if len(its := self.waiting[hours == hour]) else None
            for hour in range(len(self.workload.demand.by_hour))
        ]

    def gpus_by_hour(self) -> list[float]:
        """Return how many GPUs were paid for in each hour, on average."""
        return [
            sum(
                max(0.0, min(each.until, _HOUR * (hour + 1)) - max(each.since, _HOUR * hour))
                for each in self.paid
            )
            / _HOUR
            for hour in range(len(self.workload.demand.by_hour))
        ]

    def _per_1000(self, count: float) -> float:
        return 1_000 * count / len(self.arrivals) if len(self.arrivals) else 0.0
