"""Which steps of a generation the engine tells the agent of."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

LONGEST_SILENCE_SECONDS = 0.5
"""How long quick steps go untold. To wake the agent for each of those of a small picture would take
more of its CPU than storing the picture."""

NEARLY_DONE_SECONDS = 0.2
"""How long before the end a step is told even so: then the agent sends what is asked for next."""


class ToldSteps:
    """Chooses the first step, the last, one that is near the end, and others now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin a generation.

        Args:
            clock: Tells the time in seconds. Default: the system's.
        """
        self._clock = clock
        self._began = clock()
        self._told_at = -math.inf
        self._told_remaining = math.inf

    def includes(self, step: int, steps: int) -> bool:
        """Tell whether to tell of a step that is done just now.

        Args:
            step: Its number, from 1.
            steps: How many there are.
        """
        now = self._clock()
        remaining = (now - self._began) / step * (steps - step)
        is_silent = now - self._told_at >= LONGEST_SILENCE_SECONDS
        is_nearly_done = remaining <= NEARLY_DONE_SECONDS < self._told_remaining
        if is_silent or is_nearly_done or step == steps:
            self._told_at, self._told_remaining = now, remaining
            return True
        return False
