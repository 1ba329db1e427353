"""Which steps of a generation the engine tells the agent of."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST_SILENCE_SECONDS = 0.2
"""How long quick steps go untold. To wake the agent for each of those of a small picture would take
more of its CPU than storing the picture."""


class ToldSteps:
    """Chooses the first step, the last, and of those between one now and then."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin a generation.

        Args:
            clock: Tells the time in seconds. Default: the system's.
        """
        self._clock = clock
        self._told_at: float | None = None

    def includes(self, step: int, steps: int) -> bool:
        """Tell whether to tell of a step that is done just now.

        Args:
            step: Its number, from 1.
            steps: How many there are.
        """
        now = self._clock()
        is_silent = self._told_at is None or now - self._told_at >= LONGEST_SILENCE_SECONDS
        if is_silent or step == steps:
            self._told_at = now
            return True
        return False
