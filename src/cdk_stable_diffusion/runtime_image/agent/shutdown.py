"""Being told to stop, and how long there is for it."""

from __future__ import annotations

import threading
import time


class Shutdown:
    """The state of the end: not requested, draining, or time is up."""

    def __init__(self) -> None:
        """Start unrequested."""
        self._lock = threading.Lock()
        self._requested = threading.Event()
        self._over = threading.Event()
        self._deadline = float("inf")

    @property
    def requested(self) -> bool:
        """Whether nothing new may be begun."""
        return self._requested.is_set()

    @property
    def over(self) -> bool:
        """Whether what is not done by now is to be given back."""
        return self._over.is_set()

    def request(self, seconds: float) -> None:
        """Ask for an end; a second request can only make it sooner.

        Args:
            seconds: How long what was begun may still take.
        """
        with self._lock:
            self._deadline = min(self._deadline, time.monotonic() + seconds)
        self._requested.set()
        if seconds <= 0:
            self._over.set()

    def remaining(self) -> float:
        """Return the seconds that are left; infinite before the request."""
        with self._lock:
            return max(0.0, self._deadline - time.monotonic())

    def wait_for_request(self, timeout: float | None = None) -> bool:
        """Wait until the end is asked for, and tell whether it is."""
        return self._requested.wait(timeout)

    def pause(self, seconds: float) -> bool:
        """Wait, unless time is up sooner.

        Returns:
            Whether there is time to go on.
        """
        return not self._over.wait(seconds)

    def pause_unless_requested(self, seconds: float) -> bool:
        """Wait, unless the end is asked for sooner.

        Returns:
            Whether something new may still be begun.
        """
        return not self._requested.wait(seconds)
