"""Leases: every message in hand is kept from other agents by a heartbeat."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from .task_queue import Received, TaskQueue

_LOG = logging.getLogger(__name__)
_BEATS_PER_LEASE = 3
# As many as an agent ever holds, and some that were let go while their beat hung. There are no more
# threads than beats at one time have needed.
_BEATS_AT_ONCE = 64


class _Lease:
    def __init__(self, message: Received, due: float) -> None:
        self.message = message
        self.due = due
        # Held while the queue is told, so that nothing is prolonged after it was given back.
        self.lock = threading.Lock()
        self.ended = False


class Leases:
    """The messages in hand and the thread that keeps them."""

    def __init__(self, queue: TaskQueue, *, lease_seconds: float) -> None:
        """Prepare, without starting.

        Args:
            queue: The queue that the messages come from.
            lease_seconds: How long one beat keeps a message.
        """
        self._queue = queue
        self._interval = lease_seconds / _BEATS_PER_LEASE
        self._leases: dict[str, _Lease] = {}
        self._letting_go = 0
        self._lock = threading.Lock()
        self._left = threading.Condition(self._lock)
        # The thread is woken for what is due before it wakes by itself, and for nothing that has
        # left: to wake it costs more than all else here.
        self._sooner = threading.Condition(self._lock)
        self._wakes_at = -math.inf
        self._stopped = False
        # A beat that hangs must not keep the others from theirs.
        self._beats = ThreadPoolExecutor(_BEATS_AT_ONCE, "lease")
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the heartbeat beats."""
        return self._thread.is_alive()

    def hold(self, message: Received) -> None:
        """Keep a message that was just received."""
        with self._lock:
            lease = _Lease(message, time.monotonic() + self._interval)
            self._leases[message.receipt] = lease
            self._wake_by(lease.due)

    def end(self, message: Received) -> bool:
        """Stop keeping a message; after this no heartbeat of it is on its way.

        Returns:
            Whether it was in hand; whoever is told so decides about the message, nobody else.
        """
        with self._lock:
            lease = self._leases.pop(message.receipt, None)
            self._left.notify_all()
        if lease is None:
            return False
        with lease.lock:
            lease.ended = True
        return True

    def held(self) -> list[Received]:
        """Return the messages in hand."""
        with self._lock:
            return [lease.message for lease in self._leases.values()]

    def has_twin(self, message: Received) -> bool:
        """Tell whether another copy of a message is in hand, or an earlier receiving of it."""
        return any(
            other.body == message.body and other.receipt != message.receipt for other in self.held()
        )

    def wait_until_empty(self, timeout: float) -> bool:
        """Wait until no message is in hand or on its way back; tell whether that is so."""
        with self._left:
            return self._left.wait_for(lambda: not self._leases and not self._letting_go, timeout)

    @contextlib.contextmanager
    def letting_go(self) -> Iterator[None]:
        """Stand for messages that are not in hand any more, while the queue is yet to be told."""
        with self._lock:
            self._letting_go += 1
        try:
            yield
        finally:
            with self._lock:
                self._letting_go -= 1
                self._left.notify_all()

    def release(self, message: Received, *, after_seconds: int = 0) -> None:
        """Give a message back, unless somebody else has decided about it.

        Args:
            message: The message.
            after_seconds: How long it stays hidden. Default: not at all.
        """
        with self.letting_go():
            if not self.end(message):
                return
            try:
                self._queue.release(message, after_seconds=after_seconds)
            except Exception as error:
                # It comes back by itself when its lease ends.
                _LOG.warning("could not release %s: %s", message.message_id, error)

    def stop(self) -> None:
        """End the heartbeat."""
        with self._lock:
            self._stopped = True
            self._sooner.notify_all()

    def _run(self) -> None:
        while (lease := self._next_due()) is not None:
            self._beats.submit(self._beat, lease)
        self._beats.shutdown(wait=False, cancel_futures=True)

    def _next_due(self) -> _Lease | None:
        with self._sooner:
            while not self._stopped:
                lease = min(self._leases.values(), key=lambda each: each.due, default=None)
                now = time.monotonic()
                if lease is not None and lease.due <= now:
                    lease.due = math.inf
                    return lease
                self._wakes_at = math.inf if lease is None else lease.due
                self._sooner.wait(None if self._wakes_at == math.inf else self._wakes_at - now)
        return None

    def _wake_by(self, due: float) -> None:
        if due < self._wakes_at:
            self._sooner.notify_all()

    def _beat(self, lease: _Lease) -> None:
        began = time.monotonic()
        with lease.lock:
            if lease.ended:
                return
            try:
                self._queue.keep(lease.message)
                pause = self._interval
            except Exception as error:
                # Soon enough for another try before the lease ends.
                pause = time.monotonic() - began + self._interval / 4
                _LOG.warning("could not keep %s: %s", lease.message.message_id, error)
        with self._lock:
            # Counted from before the call: that is when the queue's own clock may have begun.
            lease.due = began + pause
            self._wake_by(lease.due)
