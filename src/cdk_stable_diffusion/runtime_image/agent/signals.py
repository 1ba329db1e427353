"""SIGTERM and SIGINT as something to wait for."""

from __future__ import annotations

import queue
import signal
from types import FrameType


class Signals:
    """The signals that ask this process to stop."""

    def __init__(self) -> None:
        """Prepare, without catching anything."""
        # Unlike a lock or an event, this queue may be used in a signal handler.
        self._received: queue.SimpleQueue[int] = queue.SimpleQueue()

    def catch(self) -> None:
        """Catch the signals from now on."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._catch)

    def wait(self, timeout: float) -> bool:
        """Wait for the next signal; tell whether one came."""
        try:
            self._received.get(timeout=timeout)
        except queue.Empty:
            return False
        return True

    def _catch(self, number: int, frame: FrameType | None) -> None:
        self._received.put(number)
