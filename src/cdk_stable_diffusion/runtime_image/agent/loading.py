"""How long loading a model takes, as this agent has measured it."""

from __future__ import annotations

import threading
import time

from .progress import averaged


class Loading:
    """The present load and those before. Safe for many threads."""

    def __init__(self) -> None:
        """Start idle, knowing nothing."""
        self._lock = threading.Lock()
        self._began: float | None = None
        self._usual: float | None = None

    def begin(self) -> None:
        """A load begins."""
        with self._lock:
            self._began = time.monotonic()

    def end(self, *, loaded: bool) -> None:
        """It has ended.

        Args:
            loaded: Whether a model was loaded, and not found to be there or to be missing.
        """
        with self._lock:
            if self._began is not None and loaded:
                self._usual = averaged(self._usual, time.monotonic() - self._began)
            self._began = None

    @property
    def has_begun(self) -> bool:
        """Whether a model is being loaded now."""
        return self._began is not None

    def remaining(self) -> float | None:
        """Return how long the present load will still take; None if there is none."""
        with self._lock:
            if self._began is None or self._usual is None:
                return None
            return max(0.0, self._began + self._usual - time.monotonic())

    def usual(self) -> float | None:
        """Return the seconds that a load takes; None before the first."""
        with self._lock:
            return self._usual
