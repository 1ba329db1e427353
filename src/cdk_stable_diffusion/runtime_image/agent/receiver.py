"""Waiting for messages in a thread of its own, so that stopping never waits for a message."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any, Protocol

from .leases import Leases
from .shutdown import Shutdown
from .task_queue import Received, TaskQueue

_LOG = logging.getLogger(__name__)
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 20.0


class Poll(Protocol):
    """A way to wait for a message that can be cut short."""

    def client(self) -> Any:
        """Return the SQS client to wait with."""

    def abort(self) -> None:
        """Cut the wait short; what is already on its way still arrives."""


class Receiver:
    """Hands out one message at a time, only when it is asked for one."""

    def __init__(self, queue_: TaskQueue, poll: Poll, leases: Leases, shutdown: Shutdown) -> None:
        """Prepare, without starting.

        Args:
            queue_: Queue to take from.
            poll: How to wait.
            leases: Keeps each message from the moment it came.
            shutdown: Ends the waiting.
        """
        self._queue = queue_
        self._poll = poll
        self._leases = leases
        self._shutdown = shutdown
        self._handing_over = threading.Lock()
        self._stopped = False
        self._wanted = threading.Semaphore(0)
        self._arrived: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    def next(self) -> Received | None:
        """Wait for a message.

        Returns:
            The message, already under lease; None once the agent is to stop.
        """
        self._wanted.release()
        return self._arrived.get()

    def stop(self, grace: float) -> bool:
        """End the waiting, after the shutdown was requested.

        Args:
            grace: How long to wait for what is already on its way.

        Returns:
            Whether the thread has ended.
        """
        with self._handing_over:
            self._stopped = True
            self._arrived.put(None)
        self._wanted.release()
        self._poll.abort()
        self._thread.join(grace)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopped:
            self._wanted.acquire()
            message = self._poll_until_one_comes()
            if message is not None:
                self._hand_over(message)

    def _hand_over(self, message: Received) -> None:
        self._leases.hold(message)
        with self._handing_over:
            if not self._stopped:
                self._arrived.put(message)
                return
        # It came to a poll that nobody waits for any more.
        self._leases.release(message)

    def _poll_until_one_comes(self) -> Received | None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._shutdown.requested:
            try:
                message = self._queue.receive(self._poll.client())
            except Exception as error:
                if not self._shutdown.requested:
                    _LOG.warning("could not receive: %s", error)
                self._shutdown.wait_for_request(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            if message is not None:
                return message
            pause = _FIRST_PAUSE_SECONDS
        return None
