"""Delivering beside the GPU: a few endings of tasks at a time, while the next task generates."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_LOG = logging.getLogger(__name__)
_NICENESS = 5


class DeliveryPool:
    """Runs endings in threads; whoever brings one too many waits."""

    def __init__(self, *, at_once: int = 4) -> None:
        """Prepare.

        Args:
            at_once: How many run at a time. Default: 4.
        """
        self._slots = threading.BoundedSemaphore(at_once)
        self._pool = ThreadPoolExecutor(at_once, "delivery", initializer=_yield_to_others)

    def submit(self, ending: Callable[[], None]) -> None:
        """Run an ending as soon as there is a thread for it.

        Waiting here is what keeps finished pictures from piling up in memory while S3 is away.

        Args:
            ending: What to run. It deals with its own failures.
        """
        self._slots.acquire()
        try:
            self._pool.submit(self._run, ending)
        except BaseException:
            self._slots.release()
            raise

    def drain(self) -> None:
        """Wait until everything that was submitted has run."""
        self._pool.shutdown(wait=True)

    def _run(self, ending: Callable[[], None]) -> None:
        try:
            ending()
        except Exception:
            _LOG.exception("delivery broke")
        finally:
            self._slots.release()


def _yield_to_others() -> None:
    """Let whoever gives the GPU its next task go before this thread, where there are few cores."""
    # Only Linux gives every thread a niceness of its own.
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
