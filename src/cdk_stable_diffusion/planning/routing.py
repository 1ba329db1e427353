"""Which task a replica takes: from one shared queue, or from lanes with a home."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from ..contract.lanes import homes
from .cache import TIERS
from .replica import NOTHING, Replica
from .setup import Lanes

_NEVER = math.inf


class Router(Protocol):
    """Holds the tasks that wait. Tasks are numbers in the order in which they came."""

    stolen: int

    def add(self, task: int) -> Replica | None:
        """Take a new task in.

        Returns:
            The only replica that may take it at once; None if every one may.
        """

    def give_back(self, task: int) -> None:
        """Take a task in again that a replica could not finish."""

    def take(self, replica: Replica, now: float) -> int:
        """Return the task that a replica takes, or NOTHING."""

    def next_chance(self) -> float:
        """Return when a replica that found nothing may find something among what waits now."""

    def join(self, replica: Replica) -> None:
        """Let a replica take part."""

    def leave(self, replica: Replica) -> None:
        """Let a replica take part no more."""


class SharedQueueRouter:
    """One queue: whoever is free takes the oldest task."""

    def __init__(self) -> None:
        """Begin empty."""
        self._waiting: deque[int] = deque()
        self.stolen = 0

    def add(self, task: int) -> Replica | None:
        """Put it last."""
        self._waiting.append(task)
        return None

    def give_back(self, task: int) -> None:
        """Put it where it was."""
        _insert(self._waiting, task)

    def take(self, replica: Replica, now: float) -> int:
        """Take the first."""
        return self._waiting.popleft() if self._waiting else NOTHING

    def next_chance(self) -> float:
        """Nothing waits where a replica found nothing."""
        return _NEVER

    def join(self, replica: Replica) -> None:
        """Nothing to do: it takes from the queue like all others."""

    def leave(self, replica: Replica) -> None:
        """Nothing to do."""


class LaneRouter:
    """Lanes: a replica takes from its home lanes first, and what it has the model of."""

    def __init__(
        self,
        settings: Lanes,
        count: int,
        *,
        lanes: Sequence[int],
        models: Sequence[int],
        arrivals: Sequence[float],
    ) -> None:
        """Begin empty, and with no replica.

        Args:
            settings: How replicas choose.
            count: How many lanes there are.
            lanes: Lane of each task.
            models: Model of each task.
            arrivals: When each task comes; may be filled in later.
        """
        self._settings = settings
        self._lanes = lanes
        self._models = models
        self._arrivals = arrivals
        self._queues: list[deque[int]] = [deque() for _ in range(count)]
        self._waiting = 0
        self._replicas: dict[str, Replica] = {}
        self._homes: list[Replica] = []
        self.stolen = 0

    def add(self, task: int) -> Replica | None:
        """Put it last in its lane, for the lane's home."""
        lane = self._lanes[task]
        self._queues[lane].append(task)
        self._waiting += 1
        return self._homes[lane] if self._homes else None

    def give_back(self, task: int) -> None:
        """Put it where it was in its lane."""
        _insert(self._queues[self._lanes[task]], task)
        self._waiting += 1

    def take(self, replica: Replica, now: float) -> int:
        """Take from the home lanes or, where they are empty, steal."""
        if not self._waiting:
            return NOTHING
        queues = self._queues
        own = [queues[lane] for lane in replica.lanes if queues[lane]]
        if own:
            task = self._choose(replica, own, self._settings.peek, now)
        elif old := self._old_enough(now):
            # Only what is at the head, which another replica would have to take in any case.
            task = self._choose(replica, old, 1, now)
            self.stolen += 1
        else:
            return NOTHING
        queues[self._lanes[task]].remove(task)
        self._waiting -= 1
        return task

    def _choose(self, replica: Replica, queues: Sequence[deque[int]], peek: int, now: float) -> int:
        """Return the task whose model is nearest, or the oldest if none was for too long."""
        oldest = min([queue[0] for queue in queues])
        if now - replica.oldest_at < self._settings.oldest_every_seconds:
            task = self._nearest(replica, queues, peek)
            if task != oldest:
                return task
        replica.oldest_at = now
        return oldest

    def _nearest(self, replica: Replica, queues: Sequence[deque[int]], peek: int) -> int:
        """Return the task whose model is nearest among the first ones; of several, the oldest."""
        nearest, models = replica.cache.nearest, self._models
        best, least = NOTHING, len(TIERS)
        for queue in queues:
            for task in islice(queue, peek):
                tier = nearest(models[task])
                if tier < least or (tier == least and task < best):
                    best, least = task, tier
        return best

    def _old_enough(self, now: float) -> list[deque[int]]:
        """Return the lanes whose first task any replica may take."""
        arrivals, bound = self._arrivals, self._settings.steal_after_seconds
        return [queue for queue in self._queues if queue and arrivals[queue[0]] + bound <= now]

    def next_chance(self) -> float:
        """Return when the oldest task may be stolen."""
        if not self._waiting:
            return _NEVER
        oldest = min([queue[0] for queue in self._queues if queue])
        return self._arrivals[oldest] + self._settings.steal_after_seconds

    def join(self, replica: Replica) -> None:
        """Let it be the home of some lanes."""
        self._replicas[replica.name] = replica
        self._find_homes()

    def leave(self, replica: Replica) -> None:
        """Let others be the homes of its lanes."""
        del self._replicas[replica.name]
        self._find_homes()

    def _find_homes(self) -> None:
        for replica in self._replicas.values():
            replica.lanes.clear()
        self._homes = []
        if not self._replicas:
            return
        for lane, name in enumerate(homes(self._replicas, len(self._queues))):
            self._homes.append(self._replicas[name])
            self._replicas[name].lanes.append(lane)


def _insert(queue: deque[int], task: int) -> None:
    """Put a task among others in the order in which they came; it belongs near the front."""
    index = next((index for index, each in enumerate(queue) if each > task), len(queue))
    queue.insert(index, task)
