"""What a replica holds before its GPU needs it: the rules of the agent.

Whoever takes a task keeps it from others, so it takes what would begin soon: of lanes, sooner than
anybody else could have loaded its model. `runtime_image/agent/hand.py` is where they come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..contract.holding import (
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
from .cache import DISK, GPU, RAM
from .replica import NOTHING, Held, Replica
from .setup import Lanes

_MOST = 2


class Hand:
    """Of one queue."""

    def __init__(self, lookahead_seconds: float, models: Sequence[int]) -> None:
        """Set the rules.

        Args:
            lookahead_seconds: How long before it is free a replica takes the next task.
            models: Model of each task.
        """
        self._soon = lookahead_seconds
        self._models = models

    def seconds_until_another(self, replica: Replica, now: float) -> float:
        """Return in how long a replica that works may take another; infinite if it may not."""
        held = len(replica.hand)
        if self._soon <= 0 or held >= self.most(replica, now):
            return math.inf
        would_begin = max(0.0, replica.until - now)
        if not held:
            return would_begin - self._soon
        return would_begin + held * replica.drawing.seconds - min(self._soon, VERY_SOON_SECONDS)

    def seconds_until_near(self, replica: Replica, now: float) -> float:
        """Return in how long it may take one of the model that it works with."""
        return math.inf

    def most(self, replica: Replica, now: float) -> int:
        """Return how many tasks a replica may hold."""
        return _MOST

    def room(self, replica: Replica, now: float) -> int:
        """Return how many a replica may take at once."""
        return 1

    def too_early(self, replica: Replica, now: float) -> Sequence[Held]:
        """Return what another replica would begin sooner: little is held, so nothing."""
        return ()

    def passes_on(self, replica: Replica, model: int, now: float) -> bool:
        """Return no: there is nobody to pass it on to."""
        return False

    def first(self, replica: Replica, now: float) -> int:
        """Return which task of its hand a replica takes: the one that came first."""
        return 0


class LanesHand(Hand):
    """Of lanes: more, and of that what the replica has the model of."""

    def __init__(self, lookahead_seconds: float, models: Sequence[int], settings: Lanes) -> None:
        """Set the rules.

        Args:
            lookahead_seconds: How long before it is free a replica takes the next task.
            models: Model of each task.
            settings: How old a task is that others may take, and the like.
        """
        super().__init__(lookahead_seconds, models)
        self._oldest_every = settings.oldest_every_seconds
        self._steal_after = settings.steal_after_seconds
        self._ahead = min(lookahead_seconds, max(self._steal_after, LEAST_AHEAD_SECONDS))

    def seconds_until_another(self, replica: Replica, now: float) -> float:
        """Return in how long another would begin sooner than anybody else could."""
        load, each = replica.loading.seconds, replica.drawing.seconds
        if max(load, each) == math.inf:
            return super().seconds_until_another(replica, now)
        if self._soon <= 0 or len(replica.hand) >= self.most(replica, now):
            return math.inf
        would_begin = max(0.0, replica.until - now) + len(replica.hand) * each
        others = {
            self._models[held.task] for held in replica.hand if not self._is_near(replica, held)
        }
        if self._nobody_is_idle(replica, now):
            if len(others) >= MOST_OTHER_MODELS:
                return math.inf
            return would_begin - max(self._soon, load) * LOADS_AHEAD
        # An idle replica would come for what has to wait here, for its turn or for another model.
        return would_begin + load * len(others) - self._ahead

    def seconds_until_near(self, replica: Replica, now: float) -> float:
        """Return in how long it would begin: what needs other models waits until after it."""
        load, each = replica.loading.seconds, replica.drawing.seconds
        if self._soon <= 0 or len(replica.hand) >= self.most(replica, now):
            return math.inf
        before = sum(self._is_near(replica, held) for held in replica.hand)
        if max(load, each) == math.inf:
            return math.inf
        return max(0.0, replica.until - now) + before * each - self._ahead

    def _is_near(self, replica: Replica, held: Held) -> bool:
        model = self._models[held.task]
        return model == replica.model or replica.cache.nearest(model) == GPU

    def most(self, replica: Replica, now: float) -> int:
        """Return how many would begin while a model loads, or several where nobody is idle."""
        load, each = replica.loading.seconds, replica.drawing.seconds
        if max(load, each) == math.inf:
            return MOST_OTHER_MODELS + 1
        loads = LOADS_AHEAD if self._nobody_is_idle(replica, now) else 1
        return max(_MOST, min(loads * MOST_FROM_LANES, int(loads * load / max(each, 1e-3))))

    def room(self, replica: Replica, now: float) -> int:
        """Return all that there is room for where nobody else takes it."""
        if not self._nobody_is_idle(replica, now):
            return 1
        return max(1, self.most(replica, now) - len(replica.hand))

    def passes_on(self, replica: Replica, model: int, now: float) -> bool:
        """Tell whether it would wait for longer than it takes to pass it on."""
        if replica.task == NOTHING:
            return False
        return self._begins_after(PASS_ON_AFTER_SECONDS, model, replica.hand, replica, now)

    def too_early(self, replica: Replica, now: float) -> Sequence[Held]:
        """Return what is held for long although somebody may be idle: the last of the hand."""
        seconds = self._steal_after + SECONDS_TO_FIND
        kept: list[Held] = []
        early: list[Held] = []
        # Those of the present model go first.
        for held in sorted(replica.hand, key=lambda held: not self._is_near(replica, held)):
            is_early = self._begins_after(seconds, self._models[held.task], kept, replica, now)
            (early if is_early else kept).append(held)
        return early

    def _begins_after(
        self, seconds: float, model: int, hand: Sequence[Held], replica: Replica, now: float
    ) -> bool:
        """Tell whether a task waits longer than so and, if its model is near, for a load elsewhere.

        Args:
            seconds: How long.
            model: The task's model.
            hand: What the replica holds before it.
            replica: The replica.
            now: The time.
        """
        load, each = replica.loading.seconds, replica.drawing.seconds
        if max(load, each) == math.inf or self._nobody_is_idle(replica, now):
            return False
        tier = replica.cache.nearest(model)
        if model == replica.model or tier == GPU:
            hand = [held for held in hand if self._is_near(replica, held)]
        if model == replica.model or tier in (GPU, RAM):
            seconds += load
        others = {self._models[held.task] for held in hand if not self._is_near(replica, held)}
        would_begin = max(0.0, replica.until - now) + len(hand) * each + load * len(others)
        return would_begin > seconds

    def _nobody_is_idle(self, replica: Replica, now: float) -> bool:
        seconds = max(LEAST_SEEN_SECONDS, LOADS_SEEN * replica.loading.seconds)
        return now - replica.left_over_at <= seconds

    def first(self, replica: Replica, now: float) -> int:
        """Return the one whose model is nearest, or the oldest if none was for too long."""
        held, nearest = replica.hand, replica.cache.nearest
        index = 0
        if len(held) > 1 and now - replica.oldest_at < self._oldest_every:
            # The engine does not know what is on the disk.
            models = [self._models[each.task] for each in held]
            tiers = [min(nearest(model), DISK) for model in models]
            # A load is for all that ask for it.
            keys = [
                (tier, -models.count(model) if tier else 0)
                for tier, model in zip(tiers, models, strict=True)
            ]
            index = keys.index(min(keys))
        if index == 0:
            replica.oldest_at = now
        return index
