"""Receiving in a thread of its own, so that stopping never waits for a message."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from .leases import Leases
from .shutdown import Shutdown
from .task_queue import WAIT_SECONDS, Received, TaskQueue

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

    def __init__(
        self,
        queue_: TaskQueue,
        poll: Poll,
        leases: Leases,
        shutdown: Shutdown,
        give_back: Callable[[Iterable[Received]], None],
    ) -> None:
        """Prepare, without starting.

        Args:
            queue_: Queue to take from.
            poll: How to wait.
            leases: Keeps each message from the moment it came.
            shutdown: Ends the waiting.
            give_back: What to do with messages that nobody waits for any more.
        """
        self._queue = queue_
        self._poll = poll
        self._leases = leases
        self._shutdown = shutdown
        self._give_back = give_back
        self._handing_over = threading.Lock()
        self._stopped = False
        self._wanted: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[Received | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="receiver", daemon=True)

    def start(self, changed: Callable[[], None]) -> None:
        """Start the thread.

        Args:
            changed: Never called: no message comes that nobody asked for.
        """
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether the thread lives."""
        return self._thread.is_alive()

    @property
    def has_arrived(self) -> bool:
        """Whether a message is here that nobody has asked for yet: never."""
        return False

    def has_more(self) -> bool:
        """Tell whether more waits that is for this agent before others: of one queue, nothing."""
        return False

    def watch_homes(self) -> bool:
        """Do nothing: what comes to a queue is for whoever is idle."""
        return False

    def pass_on(self, message: Received) -> bool:
        """Tell that nobody waits elsewhere for it.

        Args:
            message: A message in hand.
        """
        return False

    def next(self, *, patient: bool = True, most: int = 1, near: bool = False) -> Received | None:
        """Take a message.

        Args:
            patient: Whether to wait for one rather than to look once. Default: wait.
            most: How many a look may bring: it brings one. Default: one.
            near: Whether it is to need the present model: a queue cannot know. Default: no.

        Returns:
            The message, already under lease; None if there was none at a look, or once the agent
            is to stop.
        """
        self._wanted.put(patient)
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
        self._wanted.put(False)
        self._poll.abort()
        self._thread.join(grace)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            patient = self._wanted.get()
            if self._stopped:
                return
            self._hand_over(self._wait_for_one() if patient else self._look())

    def _hand_over(self, message: Received | None) -> None:
        if message is not None:
            self._leases.hold(message)
        with self._handing_over:
            if not self._stopped:
                self._arrived.put(message)
                return
        if message is not None:
            # It came to a poll that nobody waits for any more.
            self._give_back([message])

    def _look(self) -> Received | None:
        if self._shutdown.requested:
            return None
        try:
            return self._queue.receive(self._poll.client(), wait_seconds=0)
        except Exception as error:
            if not self._shutdown.requested:
                _LOG.warning("could not look for a message: %s", error)
            return None

    def _wait_for_one(self) -> Received | None:
        pause = _FIRST_PAUSE_SECONDS
        while not self._shutdown.requested:
            try:
                message = self._queue.receive(self._poll.client(), wait_seconds=WAIT_SECONDS)
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
