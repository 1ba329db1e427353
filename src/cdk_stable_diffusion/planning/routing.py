"""Which task a replica takes: from one shared queue, or from lanes with a home."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..contract.holding import COUNT_SECONDS, ROUND_SECONDS, SECONDS_TO_FIND
from ..contract.lanes import homes
from .replica import NOTHING, Replica
from .setup import Lanes

_NEVER = math.inf


class Router(Protocol):
    """Holds the tasks that wait. Tasks are numbers in the order in which they came."""

    stolen: int

    def home_of(self, task: int) -> Replica | None:
        """Return the replica that waits for a task before others do; None if there is none."""

    def add(self, task: int, now: float) -> Replica | None:
        """Take a new task in.

        Returns:
            The only replica that may take it at once; None if every one may.
        """

    def give_back(self, task: int, now: float) -> None:
        """Take a task in again that a replica could not finish."""

    def take(self, replica: Replica, now: float) -> int:
        """Return the task that a replica takes that has none, or NOTHING."""

    def take_ahead(
        self, replica: Replica, now: float, most: int, *, only_near: bool = False
    ) -> Sequence[int]:
        """Return the tasks that a replica takes that works.

        Args:
            replica: The replica.
            now: The time.
            most: Most tasks.
            only_near: Whether it wants none but of the model that it works with.
        """

    def has_more(self, replica: Replica) -> bool:
        """Tell whether something waits that a replica is to take before others do."""

    def next_chance(self, idle: int, now: float) -> float:
        """Return when one of some idle replicas may find something among what waits now."""

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

    def home_of(self, task: int) -> Replica | None:
        """There is none."""
        return None

    def add(self, task: int, now: float) -> Replica | None:
        """Put it last."""
        self._waiting.append(task)
        return None

    def give_back(self, task: int, now: float) -> None:
        """Put it where it was."""
        _insert(self._waiting, task)

    def take(self, replica: Replica, now: float) -> int:
        """Take the first."""
        return self._waiting.popleft() if self._waiting else NOTHING

    def take_ahead(
        self, replica: Replica, now: float, most: int, *, only_near: bool = False
    ) -> Sequence[int]:
        """Take the first."""
        return (self._waiting.popleft(),) if self._waiting else ()

    def has_more(self, replica: Replica) -> bool:
        """It is to take nothing before others do."""
        return False

    def next_chance(self, idle: int, now: float) -> float:
        """Nothing waits where a replica found nothing."""
        return _NEVER

    def join(self, replica: Replica) -> None:
        """Nothing to do: it takes from the queue like all others."""

    def leave(self, replica: Replica) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class _Lane:
    """One lane.

    Attributes:
        number: Its number.
        waiting: Its tasks.
        since: Since when it has not been empty.
        served_at: When its home took from it last.
        drained_at: When anybody did.
    """

    number: int
    waiting: deque[int] = field(default_factory=deque)
    since: float = 0.0
    served_at: float = -math.inf
    drained_at: float = -math.inf


class LaneRouter:
    """Lanes: a replica takes from its home lanes first, and of the models that it has."""

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
        self._lane_of = lanes
        self._models = models
        self._arrivals = arrivals
        self._lanes = [_Lane(number) for number in range(count)]
        self._waiting = 0
        # A hot model has several. A replica learns them from the tasks that it takes.
        self._lanes_of: dict[int, set[int]] = {}
        self._replicas: dict[str, Replica] = {}
        self._homes: list[Replica] = []
        self.stolen = 0

    def home_of(self, task: int) -> Replica | None:
        """Return the home of its lane."""
        return self._homes[self._lane_of[task]] if self._homes else None

    def add(self, task: int, now: float) -> Replica | None:
        """Put it last in its lane, for the lane's home."""
        lane = self._lanes[self._lane_of[task]]
        if not lane.waiting:
            lane.since = now
        lane.waiting.append(task)
        self._lanes_of.setdefault(self._models[task], set()).add(lane.number)
        self._waiting += 1
        return self._homes[lane.number] if self._homes else None

    def give_back(self, task: int, now: float) -> None:
        """Put it where it was in its lane."""
        lane = self._lanes[self._lane_of[task]]
        if not lane.waiting:
            lane.since = now
        _insert(lane.waiting, task)
        self._waiting += 1

    def take(self, replica: Replica, now: float) -> int:
        """Take from the home lanes or, where they are empty, steal."""
        if not self._waiting:
            return NOTHING
        lane = self._home_lane(replica, now)
        if lane is not None:
            lane.served_at = now
            return self._taken(lane, 1, replica, now)[0]
        lane = self._lane_to_steal_from(replica, now)
        if lane is None:
            return NOTHING
        self.stolen += 1
        return self._taken(lane, 1, replica, now)[0]

    def take_ahead(
        self, replica: Replica, now: float, most: int, *, only_near: bool = False
    ) -> Sequence[int]:
        """Take from the home lanes or, where they are empty, from where its model's tasks are."""
        if not self._waiting:
            return ()
        lane = self._home_lane(replica, now, only=(replica.model,) if only_near else ())
        if lane is not None:
            lane.served_at = now
            return self._taken(lane, most, replica, now)
        lane = next(self._among(self._old(replica, now), [replica.model]), None)
        if lane is None:
            return ()
        # Its home shall have some, too.
        tasks = self._taken(lane, min(most, max(1, len(lane.waiting) // 2)), replica, now)
        self.stolen += len(tasks)
        return tasks

    def _taken(self, lane: _Lane, most: int, replica: Replica, now: float) -> list[int]:
        tasks = [lane.waiting.popleft() for _ in range(min(most, len(lane.waiting)))]
        lane.drained_at = now
        self._waiting -= len(tasks)
        waited = now - self._arrivals[tasks[0]]
        nobody_idle = waited >= self._settings.steal_after_seconds + SECONDS_TO_FIND
        replica.left_over_at = now if nobody_idle else -math.inf
        return tasks

    def _home_lane(self, replica: Replica, now: float, *, only: Sequence[int] = ()) -> _Lane | None:
        """Return the home lane to take from: of a model that is near, if none has waited long."""
        due = [lane for each in replica.lanes if (lane := self._lanes[each]).waiting]
        if only:
            due = list(self._among(due, only))
        if not due:
            return None
        longest_ago = min(due, key=lambda lane: lane.served_at)
        if now - longest_ago.served_at >= self._settings.oldest_every_seconds:
            return longest_ago
        return next(self._among(due, replica.cache.near()), longest_ago)

    def _lane_to_steal_from(self, replica: Replica, now: float) -> _Lane | None:
        """Return the lane of a model that is near, or the longest that is worth a load."""
        old = self._old(replica, now)
        if not old:
            return None
        nearest = next(self._among(old, replica.cache.near()), None)
        if nearest is not None:
            return nearest
        load, each = replica.loading.seconds, replica.drawing.seconds
        load = load if load < math.inf else 0.0
        done = now - max(load, self._settings.steal_after_seconds)
        worth = [lane for lane in old if lane.drained_at < done or len(lane.waiting) * each >= load]
        return max(worth, key=lambda lane: len(lane.waiting), default=None)

    def _old(self, replica: Replica, now: float) -> list[_Lane]:
        """Return the others' lanes that have tasks which a replica may take."""
        bound = now - self._settings.steal_after_seconds
        if replica.watches_since > bound:
            return []
        homes = set(replica.lanes)
        return [
            lane
            for lane in self._lanes
            if lane.waiting and lane.since <= bound and lane.number not in homes
        ]

    def _among(self, lanes: Sequence[_Lane], near: Iterable[int]) -> Iterator[_Lane]:
        """Return those lanes that have tasks of models, in the order of the models."""
        by_number = {lane.number: lane for lane in lanes}
        for model in near:
            for number in self._lanes_of.get(model, ()):
                if number in by_number:
                    yield by_number[number]

    def has_more(self, replica: Replica) -> bool:
        """Tell whether something waits in its home lanes, or there is nobody else to take it."""
        return len(self._replicas) == 1 or any(
            self._lanes[number].waiting for number in replica.lanes
        )

    def next_chance(self, idle: int, now: float) -> float:
        """Return when the next lane may be stolen from, once somebody has seen that it waits."""
        if not self._waiting:
            return _NEVER
        round_ = max(ROUND_SECONDS, COUNT_SECONDS * len(self._lanes))
        since = min([lane.since for lane in self._lanes if lane.waiting])
        seen = since + round_ / (idle + 1)
        # What is not worth a load is looked at again.
        return max(seen + self._settings.steal_after_seconds, now + COUNT_SECONDS)

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
        for lane, name in enumerate(homes(self._replicas, len(self._lanes))):
            self._homes.append(self._replicas[name])
            self._replicas[name].lanes.append(lane)


def _insert(queue: deque[int], task: int) -> None:
    """Put a task among others in the order in which they came; it belongs near the front."""
    index = next((index for index, each in enumerate(queue) if each > task), len(queue))
    queue.insert(index, task)
