"""What an agent holds before its GPU needs it: how much, for how long, and which goes first."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from ...contract.holding import (
    LEAST_AHEAD_SECONDS,
    LEAST_SEEN_SECONDS,
    LOADS_AHEAD,
    LOADS_SEEN,
    MOST_FROM_LANES,
    MOST_OTHER_MODELS,
    PASS_ON_AFTER_SECONDS,
    SECONDS_TO_FIND,
    VERY_SOON_SECONDS,
)
from .lane_choice import SERVE_EVERY_SECONDS
from .loading import Loading
from .near_models import AWAY, GPU, NearModels
from .progress import Progress
from .sharing import Sharing
from .work import Work

_SOON_SECONDS = 2.0

LONGEST_SECONDS = 10.0
"""How long a task is held whose turn does not come."""


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

    def others_may_be_idle(self) -> bool:
        """Tell whether to look for what another replica would begin sooner."""

    def begins_late(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Tell whether a replica that is idle would begin sooner with what has come unasked.

        Args:
            model: The model that it needs, if that is known.
            works: What is in hand.
            chosen: Whether something has been chosen already for the next pass.
        """

    def comes_too_early(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Tell whether one would even if it had to find that by itself.

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

    def took(self, index: int, model: str) -> None:
        """Hear that one was taken for the GPU.

        Args:
            index: Its place in the hand.
            model: The model that it needs.
        """


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
        return would_begin - VERY_SOON_SECONDS

    def seconds_until_near(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return never: nobody knows what comes next of the queue."""
        return math.inf

    def others_may_be_idle(self) -> bool:
        """Return no: they would have taken what waits."""
        return False

    def begins_late(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Return no: nothing comes unasked."""
        return False

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

    def took(self, index: int, model: str) -> None:
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
        self._steal_after = max(steal_after, LEAST_AHEAD_SECONDS)
        self._took_at = self._oldest_at = time.monotonic()
        self._took_loads: bool | None = None

    def most(self) -> int:
        """Return how many would begin while a model loads, or several where nobody is idle."""
        most, load, each = self._queue_hand.most(), self._loading.usual(), self._progress.usual()
        if not most:
            return 0
        if load is None or math.isinf(each):
            # What came to several polls at once leaves room for one of the present model.
            return max(most, MOST_OTHER_MODELS + 1)
        loads = LOADS_AHEAD if self._nobody_is_idle(load) else 1
        return max(most, min(loads * MOST_FROM_LANES, int(loads * load / max(each, 1e-3))))

    def seconds_until_another(self, works: Sequence[Work], *, chosen: bool) -> float:
        """Return in how long another would begin sooner than anybody else could."""
        load, each = self._loading.usual(), self._progress.usual()
        if load is None or math.isinf(each):
            return self._queue_hand.seconds_until_another(works, chosen=chosen)
        would_begin = self._would_begin_in(works, each, chosen=chosen)
        others = {work.task.request.model for work in works} - self._on_the_gpu()
        if self._nobody_is_idle(load):
            if len(others) >= MOST_OTHER_MODELS:
                return math.inf
            return would_begin - max(_SOON_SECONDS, load) * LOADS_AHEAD
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

    def others_may_be_idle(self) -> bool:
        """Tell whether there are others and nothing has waited for long in a lane lately.

        Before it knows how long it takes itself, it knows of nothing that they would begin sooner.
        """
        load = self._loading.usual()
        if load is None or math.isinf(self._progress.usual()):
            return False
        return not self._nobody_is_idle(load) and not self._alone()

    def begins_late(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Tell whether it would wait for longer than it takes to pass it on."""
        return self._begins_after(
            PASS_ON_AFTER_SECONDS, model, works, self._near.tiers(), chosen=chosen
        )

    def comes_too_early(self, model: str | None, works: Sequence[Work], *, chosen: bool) -> bool:
        """Tell whether it would wait for longer than an idle replica needs to find it."""
        seconds = self._steal_after + SECONDS_TO_FIND
        return self._begins_after(seconds, model, works, self._near.tiers(), chosen=chosen)

    def too_early(self, works: Sequence[Work], *, chosen: bool) -> Sequence[Work]:
        """Return what is held for long now that somebody may be idle: the last of the hand."""
        seconds, tiers = self._steal_after + SECONDS_TO_FIND, self._near.tiers()
        kept: list[Work] = []
        early: list[Work] = []
        # Those of the present model go first.
        for work in sorted(works, key=lambda each: tiers.get(each.task.request.model) != GPU):
            model = work.task.request.model
            is_early = self._begins_after(seconds, model, kept, tiers, chosen=chosen)
            (early if is_early else kept).append(work)
        return early

    def _begins_after(
        self,
        seconds: float,
        model: str | None,
        works: Sequence[Work],
        tiers: Mapping[str, int],
        *,
        chosen: bool,
    ) -> bool:
        """Tell whether a task waits longer than so and, if its model is near, for a load elsewhere.

        Args:
            seconds: How long.
            model: The task's model, if that is known.
            works: What is in hand before it.
            tiers: How near models are.
            chosen: Whether something has been chosen already for the next pass.
        """
        load, each = self._loading.usual(), self._progress.usual()
        if load is None or not self.others_may_be_idle():
            return False
        present = {name for name, tier in tiers.items() if tier == GPU}
        if model in present:
            works = [work for work in works if work.task.request.model in present]
        if model in tiers:
            seconds += load
        others = {work.task.request.model for work in works} - present
        would_begin = self._would_begin_in(works, each, chosen=chosen) + load * len(others)
        return seconds < would_begin < math.inf

    def _would_begin_in(self, works: Sequence[Work], each: float, *, chosen: bool) -> float:
        """Return when a task behind others would begin, if all have the present model."""
        free_in = self._progress.remaining()
        if math.isinf(free_in):
            free_in = self._begins_in() + each
        return free_in + (self._sharing.passes_before_another(works) + chosen) * each

    def _begins_in(self) -> float:
        """Return when what was taken last begins, which is not drawn yet; infinite for nothing."""
        remaining = self._loading.remaining()
        if remaining is not None:
            return remaining
        if self._took_loads is None:
            return math.inf
        return (self._loading.usual() or 0.0) if self._took_loads else 0.0

    def _nobody_is_idle(self, load: float | None) -> bool:
        """Tell whether no replica can be idle, as far as was seen not long ago."""
        seconds = max(LEAST_SEEN_SECONDS, LOADS_SEEN * (load or 0.0))
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

    def took(self, index: int, model: str) -> None:
        """Take note, and of the oldest in particular."""
        self._took_at = time.monotonic()
        self._took_loads = self._near.tiers().get(model) != GPU
        if index == 0:
            self._oldest_at = self._took_at
