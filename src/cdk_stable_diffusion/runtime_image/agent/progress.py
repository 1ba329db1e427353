"""How long the running generation will still take."""

from __future__ import annotations

import math
import threading
import time

_WEIGHT_OF_LAST = 0.5


def averaged(usual: float | None, last: float) -> float:
    """Return what something usually takes, after another time.

    Args:
        usual: What it usually took before; None before the first.
        last: What it took this time.
    """
    return last if usual is None else _WEIGHT_OF_LAST * last + (1 - _WEIGHT_OF_LAST) * usual


class Progress:
    """An estimate from the steps that are done or, before the first, from earlier tasks."""

    def __init__(self) -> None:
        """Start idle, knowing nothing."""
        self._lock = threading.Lock()
        self._began: float | None = None
        self._end: float | None = None
        self._usual: float | None = None

    def begin(self) -> None:
        """A generation begins."""
        with self._lock:
            self._began = time.monotonic()
            self._end = None if self._usual is None else self._began + self._usual

    def step(self, done: int, of: int) -> None:
        """A step of it is done."""
        now = time.monotonic()
        with self._lock:
            if self._began is not None:
                self._end = now + (now - self._began) * (of - done) / done

    def end(self) -> None:
        """It has ended, well or badly."""
        with self._lock:
            if self._began is None:
                return
            seconds = time.monotonic() - self._began
            self._began = None
            self._usual = averaged(self._usual, seconds)

    def remaining(self) -> float:
        """Return the seconds that it will still take; infinite if nobody can know."""
        with self._lock:
            if self._began is None or self._end is None:
                return math.inf
            return max(0.0, self._end - time.monotonic())

    def usual(self) -> float:
        """Return the seconds that a generation takes; infinite before the first."""
        with self._lock:
            return math.inf if self._usual is None else self._usual
