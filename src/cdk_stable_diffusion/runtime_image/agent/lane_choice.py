"""Which lane to take from: what an agent knows of its runtime's lanes, and what follows from it.

The overflow queue has the number after the last lane's. It is everybody's, so it has its turn like
a home lane.

Nothing here asks, waits or reads a clock: whoever does says what came of it, and when. Times are in
seconds of any one clock.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...contract.holding import (
    COUNT_SECONDS,
    LONGEST_GAP_SECONDS,
    ROUND_SECONDS,
    SECONDS_TO_FIND,
)
from ...contract.lanes import home_lanes, lane_of

SERVE_EVERY_SECONDS = 30.0
"""How often each home lane gets its turn, whatever the model that is loaded."""

NEGLECTED_SECONDS = 2 * SERVE_EVERY_SECONDS
"""How long tasks wait in a lane that nobody takes from, until busy replicas take their turns."""

_CHECK_SECONDS = 20.0
_CHECKS_APART_SECONDS = 1.0
"""How often a busy replica looks at each other lane and, of many, at any."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0
_SHORTEST_POLL_SECONDS = 2
_LONGEST_POLL_SECONDS = 20
_RECENT_SECONDS = 10.0
"""How long after a task an agent looks around as if another were to come at once."""

_WATCH_SECONDS = 0.5
"""How often a busy replica counts what it may go on with."""

_FRESH_SECONDS = 1.0
"""How long what was counted may be acted upon."""

_IDLE_REQUESTS_A_MINUTE = 54.0
"""Most requests of an agent that has had nothing to do for long, as long as its home lanes leave
any: a minute has room for 60, and polls do not end to the second."""

_LEAST_COUNTS_A_MINUTE = 3.0


@dataclass(slots=True)
class _Lane:
    """What is known of a lane.

    Attributes:
        served_at: When it was last received from, successfully or not.
        look_at: When to look again, after it was found empty.
        pause: How long it is left alone when it is found empty next.
        counted_at: When the messages that wait in it were last counted.
        waiting: How many these were.
        in_hand: How many of its messages somebody had in hand then.
        waiting_since: When some were first seen, with none missing since.
        drained_at: When somebody else was last seen to have taken some.
        untouched_since: When some were first seen, with nobody seen at work on any since.
    """

    served_at: float = -math.inf
    look_at: float = -math.inf
    pause: float = _FIRST_PAUSE_SECONDS
    counted_at: float = -math.inf
    waiting: int = 0
    in_hand: int = 0
    waiting_since: float | None = None
    drained_at: float = -math.inf
    untouched_since: float | None = None

    @property
    def tasks(self) -> int:
        """How many tasks its home has before it, with those that wait."""
        return self.waiting + self.in_hand


class LaneChoice:
    """One replica's view of the lanes. Not for several threads at once."""

    def __init__(self, name: str, lanes: int, *, steal_after: float, now: float) -> None:
        """Begin as the only replica.

        Args:
            name: The replica's name.
            lanes: How many lanes the runtime has.
            steal_after: How long tasks wait for their home before this replica may take them.
            now: The time.
        """
        self._name = name
        self._steal_after = steal_after
        self._longest_gap = steal_after + LONGEST_GAP_SECONDS
        self._count = lanes
        self._lanes = [_Lane() for _ in range(lanes + 1)]
        self._members: frozenset[str] = frozenset()
        self._homes: tuple[int, ...] = ()
        self._lanes_of: dict[str, set[int]] = {}
        self._found_at = now
        self._count_at = now
        self._count_pause = _FIRST_PAUSE_SECONDS
        self._check_at = now
        self.left_over_at = -math.inf
        """When a task was taken last that had waited for so long that no replica could be idle, if
        all that were taken since had, too."""
        self.learn_members((name,))

    @property
    def homes(self) -> tuple[int, ...]:
        """The lanes whose home this replica is."""
        return self._homes

    @property
    def overflow(self) -> int:
        """The number of the overflow queue."""
        return self._count

    @property
    def own(self) -> tuple[int, ...]:
        """The lanes that this replica takes from before it steals: its homes, and the overflow."""
        return (*self._homes, self.overflow)

    def learn_members(self, members: Collection[str]) -> None:
        """Hear who lives."""
        if self._members != (living := frozenset(members) | {self._name}):
            for lane in self._homes:
                # What was not counted meanwhile may be another's from now on.
                self._lanes[lane].untouched_since = None
            self._members = living
            self._homes = home_lanes(self._name, living, self._count)

    def learn_model(self, model: str, lane: int) -> None:
        """Hear of a task of a model in a lane: a hot model has several."""
        if lane != self.overflow:
            self._lanes_of.setdefault(model, {self._first_lane(model)}).add(lane)

    def received(self, lane: int, waited: Sequence[float], now: float) -> None:
        """Hear what came of asking a lane for messages.

        Args:
            lane: The lane.
            waited: How long each of the messages had waited; empty if none came.
            now: The time.
        """
        state = self._lanes[lane]
        state.served_at = now
        if waited:
            self._found_at = now
            nobody_idle = max(waited) >= self._steal_after + SECONDS_TO_FIND
            self.left_over_at = now if nobody_idle else -math.inf
            state.pause, state.look_at = _FIRST_PAUSE_SECONDS, now
            # Not by somebody else; and what it leaves is as old.
            state.waiting = max(0, state.waiting - len(waited))
        else:
            state.look_at = now + state.pause
            state.pause = min(2 * state.pause, _LONGEST_PAUSE_SECONDS)
            state.waiting = 0
        if not state.waiting:
            state.waiting_since = None
        # The next one of it waits for as long again.
        state.untouched_since = now if state.waiting else None

    def counted(self, lane: int, waiting: int, now: float, *, in_hand: int = 0) -> None:
        """Hear how many messages there are in a lane.

        Args:
            lane: The lane.
            waiting: How many wait.
            now: The time.
            in_hand: How many others have somebody who works on them. Default: none.
        """
        state = self._lanes[lane]
        if waiting < state.waiting:
            state.drained_at = now
        if not waiting or in_hand or waiting < state.waiting:
            state.untouched_since = None
        elif state.untouched_since is None:
            state.untouched_since = now
        if not waiting:
            state.waiting_since = None
        elif state.waiting_since is None or now - state.counted_at > self._longest_gap:
            state.waiting_since = now
        state.waiting, state.in_hand, state.counted_at = waiting, in_hand, now
        self._count_pause = _FIRST_PAUSE_SECONDS
        self._count_at = now + self._seconds_between_counts(now)

    def failed(self, lane: int, now: float) -> None:
        """Hear that a lane could not be asked: it is left alone for a while."""
        state = self._lanes[lane]
        state.look_at = now + _LONGEST_PAUSE_SECONDS
        state.waiting, state.waiting_since, state.counted_at = 0, None, now
        state.untouched_since = None
        self._count_at = now + self._count_pause
        self._count_pause = min(2 * self._count_pause, _LONGEST_POLL_SECONDS)

    def home_to_ask(
        self,
        near: Sequence[str],
        now: float,
        asked: Collection[int],
        *,
        idle: bool = True,
        only: Sequence[str] = (),
    ) -> int | None:
        """Return which of its own lanes to look at now.

        Args:
            near: The models that this replica has, the nearest first.
            now: The time.
            asked: Lanes that somebody waits at already.
            idle: Whether the GPU waits. Default: it does. Else what others pass on is left for
                whoever is idle, unless it had no turn for long.
            only: The models whose lanes to look at. Default: any.

        Returns:
            One that had no turn for long, else that of a model that is near, else the one whose
            last turn is longest ago; None if all were found empty just now.
        """
        due = [lane for lane in self.own if lane not in asked and self._lanes[lane].look_at <= now]
        if only:
            due = list(self._among(due, only))
        longest_ago = self._served_longest_ago(due)
        if longest_ago is None:
            return None
        if now - self._lanes[longest_ago].served_at >= SERVE_EVERY_SECONDS:
            return longest_ago
        if not idle:
            due = [lane for lane in due if lane != self.overflow]
        return next(self._among(due, near), self._served_longest_ago(due))

    def _served_longest_ago(self, lanes: Sequence[int]) -> int | None:
        return min(lanes, key=lambda lane: self._lanes[lane].served_at, default=None)

    def poll_seconds(self, now: float) -> int:
        """Return how long to wait at a home lane that is empty."""
        idle = now - self._found_at - _RECENT_SECONDS
        return min(max(_SHORTEST_POLL_SECONDS, int(idle / 2)), _LONGEST_POLL_SECONDS)

    def lane_to_steal_from(
        self, near: Sequence[str], now: float, *, load_seconds: float, pass_seconds: float
    ) -> int | None:
        """Return the lane of another home to take from, for a replica whose own are empty.

        What it takes costs it a load, unless it has the model. So it leaves alone what somebody
        works on who is done sooner than that.

        Args:
            near: The models that this replica has, the nearest first.
            now: The time.
            load_seconds: How long loading a model takes.
            pass_seconds: How long a task takes.

        Returns:
            The lane of a model that is near, else the one with the longest backlog; None if no lane
            has tasks that are old enough and worth it.
        """
        old = self._old(now)
        nearest = next(self._among(old, near), None)
        if nearest is not None:
            return nearest
        worth = [
            lane
            for lane in old
            if now - self._lanes[lane].drained_at > max(load_seconds, self._steal_after)
            or self._lanes[lane].tasks * pass_seconds >= load_seconds
        ]
        return max(worth, key=lambda lane: self._lanes[lane].waiting, default=None)

    def lane_to_go_on_with(self, model: str, now: float) -> int | None:
        """Return another's lane to take from while the GPU works.

        Args:
            model: The model that it works with.
            now: The time.

        Returns:
            A lane that has old tasks and had the model's; None if none has.
        """
        return next(self._among(self._old(now), [model]), None)

    def lane_to_watch(self, model: str, now: float) -> int | None:
        """Return another's lane to count for `lane_to_go_on_with`; None if that need not be yet."""
        stale = [
            lane for lane in self._others() if self._lanes[lane].counted_at <= now - _WATCH_SECONDS
        ]
        return next(self._among(stale, [model]), None)

    def lane_to_check(self, now: float) -> int | None:
        """Return another's lane to count for `neglected_lane`; None if that need not be yet.

        Args:
            now: The time.
        """
        lane = min(self._others(), key=lambda lane: self._lanes[lane].counted_at, default=None)
        if lane is None or now < self._check_at:
            return None
        if now - self._lanes[lane].counted_at < _CHECK_SECONDS:
            return None
        self._check_at = now + _CHECKS_APART_SECONDS
        return lane

    def neglected_lane(self, now: float) -> int | None:
        """Return another's lane to take from although there is work of one's own.

        Its home hangs, or cannot take from it, or no replica thinks that it is one: those of an
        older deployment may know of fewer lanes.

        Args:
            now: The time.

        Returns:
            The lane that has had tasks for long with nobody at work on any; None if none has.
        """
        for lane in self._others():
            state = self._lanes[lane]
            if state.untouched_since is None or now - state.counted_at > _FRESH_SECONDS:
                continue
            if state.counted_at - state.untouched_since >= NEGLECTED_SECONDS:
                return lane
        return None

    def share(self, lane: int) -> int:
        """Return how many tasks to take at most of another's lane: half, so that its home has some.

        Args:
            lane: The lane.
        """
        return max(1, self._lanes[lane].waiting // 2)

    def lane_to_count(self) -> tuple[int | None, float]:
        """Return which of the others' lanes to count next, and when."""
        others = self._others()
        if not others:
            return None, math.inf
        # What was just seen is looked at again as soon as it may be taken.
        for lane in others:
            since = self._lanes[lane].waiting_since
            if since is not None and self._lanes[lane].counted_at < since + self._steal_after:
                if since + self._steal_after <= self._count_at:
                    return lane, since + self._steal_after
        return min(others, key=lambda lane: self._lanes[lane].counted_at), self._count_at

    def _old(self, now: float) -> list[int]:
        """Return the others' lanes that have tasks which any replica may take."""
        return [lane for lane in self._others() if self._is_old(self._lanes[lane], now)]

    def _is_old(self, state: _Lane, now: float) -> bool:
        if state.waiting_since is None or now - state.counted_at > _FRESH_SECONDS:
            return False
        return state.counted_at - state.waiting_since >= self._steal_after

    def _others(self) -> list[int]:
        homes = set(self._homes)
        return [lane for lane in range(self._count) if lane not in homes]

    def _among(self, lanes: Iterable[int], near: Sequence[str]) -> Iterator[int]:
        """Return those lanes that have tasks of models, in the order of the models."""
        choice = set(lanes)
        for model in near:
            yield from sorted(choice & self._lanes_of.get(model, {self._first_lane(model)}))

    def _first_lane(self, model: str) -> int:
        return lane_of(model, self._count)

    def _seconds_between_counts(self, now: float) -> float:
        others = self._count - len(self._homes)
        soonest = max(COUNT_SECONDS, ROUND_SECONDS / max(1, others))
        polls = 60.0 / _LONGEST_POLL_SECONDS * len(self.own)
        left = max(_IDLE_REQUESTS_A_MINUTE - polls, _LEAST_COUNTS_A_MINUTE)
        idle = now - self._found_at - _RECENT_SECONDS
        return min(soonest * 2 ** max(0.0, min(idle / 10.0, 16.0)), max(soonest, 60.0 / left))
