"""End in order when the terminal or the system asks to."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_LOOK_SECONDS = 0.1


class Interruption:
    """Whether the process has been asked to end.

    Its signal handler does nothing but note it. An exception out of a handler could come at any
    place: one where Python drops it, or in the middle of ending a child.
    """

    def __init__(self) -> None:
        """Start without being asked."""
        self.requested = False

    def check(self) -> None:
        """Raise if the process has been asked to end.

        Raises:
            KeyboardInterrupt: If so.
        """
        if self.requested:
            raise KeyboardInterrupt

    def wait(self) -> None:
        """Wait until the process is asked to end."""
        while not self.requested:
            time.sleep(_LOOK_SECONDS)


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Note SIGINT and SIGTERM, instead of being ended by them, as long as the block runs."""
    interruption = Interruption()

    def note(number: int, frame: FrameType | None) -> None:
        interruption.requested = True

    before = {each: signal.signal(each, note) for each in SIGNALS}
    try:
        yield interruption
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
