"""What an agent holds before its GPU needs it: how much, for how long, and which goes first."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from .lane_choice import SECONDS_TO_FIND, SERVE_EVERY_SECONDS
from .loading import Loading
from .near_models import AWAY, GPU, NearModels
from .progress import Progress
from .sharing import Sharing
from .work import Work

_SOON_SECONDS = 2.0
_VERY_SOON_SECONDS = 1.0
"""A second task is worth holding only where tasks are shorter than it takes to fetch one."""

LONGEST_SECONDS = 10.0
"""How long a task is held whose turn does not come."""

_MOST_FROM_LANES = 10
_LOADS_AHEAD = 3
"""How much more is held where no replica can be idle, so that a load serves more tasks of those
that wait in a lane with several models. From the simulation: 14 % fewer loads for four replicas and
ten models than with one, 10 % more pictures for eight and fifty with a cache."""

_LEAST_SEEN_SECONDS = 4.0
_LOADS_SEEN = 1.5
"""For how long it holds that no replica can be idle: a full hand takes nothing for a load."""

_MOST_OTHER_MODELS = 3
"""So many to choose the next one from are enough; each more is kept from replicas that may be idle
before its turn comes."""

_LEAST_AHEAD_SECONDS = 0.25
"""How long it takes to fetch a task and what it needs, but for the model."""


class Hand(Protocol):
    """The rules of what is in hand."""

    def most(self) -> int:
        """Return how many tasks may be in hand that have not begun."""

    def seconds_until_another(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return in how long another task may be taken.

        Args:
            works: What is in hand.
            chosen: Whether something has been chosen already for the next pass.
        """

    def seconds_until_near(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return in how long one may be taken that needs the present model, where that is known.

        Args:
            works: What is in hand.
            chosen: Whether something has been chosen already for the next pass.
        """

    def comes_too_early(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Tell whether another replica would begin sooner with what has come unasked.

        Args:
            model: The model that it needs, if that is known.
            works: What is in hand.
            chosen: Whether something has been chosen already for the next pass.
        """

    def too_early(self, works: Sequence[Work], *, chosen: bool) -> Sequence[Work]:
        """Return what of the hand another replica would begin sooner.

        Args:
            works: What is in hand.
            chosen: Whether something has been chosen already for the next pass.
        """

    def room(self, held: int) -> int:
        """Return how many tasks may be taken at once when one may."""

    def waits_too_long(self, since: float) -> bool:
        """Tell whether what is in hand should be given back.

        Args:
            since: When its first task came there, by `time.monotonic`.
        """

    def first(self, works: Sequence[Work]) -> int:
        """Return which of the tasks in hand goes first."""

    def took(self, index: int) -> None:
        """Hear that one was taken for the GPU."""


class QueueHand:
    """Of one queue: little and late, since whoever takes a task keeps it from others."""

    def __init__(self, progress: Progress, sharing: Sharing, *, most_tasks: int) -> None:
        """Connect.

        Args:
            progress: How long the GPU is busy.
            sharing: Which tasks share a pass.
            most_tasks: Most tasks to hold.
        """
        self._progress = progress
        self._sharing = sharing
        # What the next pass has room for is worth holding, but never against the settings.
        self._most_tasks = most_tasks and max(most_tasks, sharing.most_tasks)

    def most(self) -> int:
        """Return what the settings say."""
        return self._most_tasks

    def seconds_until_another(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return in how long another would begin soon."""
        would_begin = self._progress.remaining()
        if not (works or chosen):
            return would_begin - _SOON_SECONDS
        passes = self._sharing.passes_before_another(works) + chosen
        would_begin += passes * self._progress.usual() if passes else 0.0
        return would_begin - _VERY_SOON_SECONDS

    def seconds_until_near(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return never: nobody knows what comes next of the queue."""
        return math.inf

    def comes_too_early(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Return no: nothing comes unasked."""
        return False

    def too_early(self, works: Sequence[Work], *, chosen: bool) -> Sequence[Work]:
        """Return nothing: little is held, and `waits_too_long` tells of that."""
        return ()

    def room(self, held: int) -> int:
        """Return one."""
        return 1

    def waits_too_long(self, since: float) -> bool:
        """Tell whether the GPU turned out to be busy for longer than it seemed."""
        return time.monotonic() - since >= LONGEST_SECONDS

    def first(self, works: Sequence[Work]) -> int:
        """Return the one that came first."""
        return 0

    def took(self, index: int) -> None:
        """Do nothing."""


class LanesHand:
    """Of lanes: what would begin before anybody else could have loaded its model.

    It takes of the hand what the engine has the model of, so that a load serves many tasks; but the
    oldest every half a minute.
    """

    def __init__(
        self,
        queue_hand: Hand,
        *,
        progress: Progress,
        sharing: Sharing,
        loading: Loading,
        near: NearModels,
        left_over_at: Callable[[], float],
        alone: Callable[[], bool],
        steal_after: float,
    ) -> None:
        """Connect.

        Args:
            queue_hand: The rules until a load was measured.
            progress: How long the GPU is busy.
            sharing: Which tasks share a pass.
            loading: How long loads take.
            near: Which models the engine has.
            left_over_at: When tasks last waited for so long that no replica could be idle.
            alone: Whether there is no other replica.
            steal_after: How old a task is that an idle replica takes.
        """
        self._queue_hand = queue_hand
        self._progress = progress
        self._sharing = sharing
        self._loading = loading
        self._near = near
        self._left_over_at = left_over_at
        self._alone = alone
        self._steal_after = max(steal_after, _LEAST_AHEAD_SECONDS)
        self._took_at = self._oldest_at = time.monotonic()

    def most(self) -> int:
        """Return how many would begin while a model loads, or several where nobody is idle."""
        most, load, each = self._queue_hand.most(), self._loading.usual(), self._progress.usual()
        if not most:
            return 0
        if load is None or math.isinf(each):
            # What came to several polls at once leaves room for one of the present model.
            return max(most, _MOST_OTHER_MODELS + 1)
        loads = _LOADS_AHEAD if self._nobody_is_idle(load) else 1
        return max(most, min(loads * _MOST_FROM_LANES, int(loads * load / max(each, 1e-3))))

    def seconds_until_another(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return in how long another would begin sooner than anybody else could."""
        load, each = self._loading.usual(), self._progress.usual()
        if load is None or math.isinf(each):
            return self._queue_hand.seconds_until_another(works, chosen=chosen)
        would_begin = self._would_begin_in(works, each, chosen=chosen)
        others = {work.task.request.model for work in works} - self._on_the_gpu()
        if self._nobody_is_idle(load):
            if len(others) >= _MOST_OTHER_MODELS:
                return math.inf
            return would_begin - max(_SOON_SECONDS, load) * _LOADS_AHEAD
        # An idle replica would come for what has to wait here, for its turn or for another model.
        return would_begin + load * len(others) - self._steal_after

    def seconds_until_near(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return in how long it would begin: what needs other models waits until after it."""
        load, each = self._loading.usual(), self._progress.usual()
        present = self._on_the_gpu()
        before = [work for work in works if work.task.request.model in present]
        if load is None or math.isinf(each):
            # The first load is under way, and nobody else's would end before.
            return 0.0 if self._loading.has_begun and not (before or chosen) else math.inf
        return self._would_begin_in(before, each, chosen=chosen) - self._steal_after

    def comes_too_early(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Tell whether it would wait for longer than an idle replica needs to find it.

        And to load its model, where that is the present one.
        """
        load, each = self._loading.usual(), self._progress.usual()
        if load is None or math.isinf(each) or self._nobody_is_idle(load) or self._alone():
            return False
        present = self._on_the_gpu()
        longest = self._steal_after + SECONDS_TO_FIND
        if model in present:
            works = [work for work in works if work.task.request.model in present]
            longest += load
        others = {work.task.request.model for work in works} - present
        would_begin = self._would_begin_in(works, each, chosen=chosen) + load * len(others)
        # Who is about to begin knows no better.
        return longest < would_begin < math.inf

    def too_early(self, works: Sequence[Work], *, chosen: bool) -> Sequence[Work]:
        """Return what is held for long now that somebody may be idle: the last of the hand."""
        present = self._on_the_gpu()
        kept: list[Work] = []
        early: list[Work] = []
        # Those of the present model go first.
        for work in sorted(works, key=lambda each: each.task.request.model not in present):
            model = work.task.request.model
            is_early = self.comes_too_early(model, kept, chosen=chosen)
            (early if is_early else kept).append(work)
        return early

    def _would_begin_in(self, works: Sequence[Work], each: float, *, chosen: bool) -> float:
        """Return when a task behind others would begin, if all have the present model."""
        loading = self._loading.remaining()
        free_in = self._progress.remaining() if loading is None else loading + each
        return free_in + (self._sharing.passes_before_another(works) + chosen) * each

    def _nobody_is_idle(self, load: float | None) -> bool:
        """Tell whether no replica can be idle, as far as was seen not long ago."""
        seconds = max(_LEAST_SEEN_SECONDS, _LOADS_SEEN * (load or 0.0))
        return time.monotonic() - self._left_over_at() <= seconds

    def _on_the_gpu(self) -> set[str]:
        return {model for model, tier in self._near.tiers().items() if tier == GPU}

    def room(self, held: int) -> int:
        """Return one, or all that there is room for where nobody else takes them."""
        return max(1, self.most() - held) if self._nobody_is_idle(self._loading.usual()) else 1

    def waits_too_long(self, since: float) -> bool:
        """Tell whether the GPU has taken nothing for longer than a load should last."""
        seconds = max(LONGEST_SECONDS, 2 * (self._loading.usual() or 0.0))
        return time.monotonic() - max(since, self._took_at) >= seconds

    def first(self, works: Sequence[Work]) -> int:
        """Return the one whose model is nearest, or the oldest if none was for too long."""
        if time.monotonic() - self._oldest_at >= SERVE_EVERY_SECONDS:
            return 0
        tiers = self._near.tiers()
        models = [work.task.request.model for work in works]
        counts = Counter(models)

        def key(index: int) -> tuple[int, int, int]:
            tier = tiers.get(models[index], AWAY)
            # A load is for all that ask for it.
            return tier, -counts[models[index]] if tier else 0, index

        return min(range(len(works)), key=key)

    def took(self, index: int) -> None:
        """Take note, and of the oldest in particular."""
        self._took_at = time.monotonic()
        if index == 0:
            self._oldest_at = self._took_at
