"""Trying again with what is already in hand, so that no picture is drawn twice for it."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from .aws_errors import is_away
from .shutdown import Shutdown

_LOG = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backoff:
    """How long to go on trying, and how often.

    Attributes:
        first_seconds: Pause after the first failure; it doubles from try to try.
        longest_seconds: Longest pause.
        total_seconds: No try begins later than this after the first one.
        away_seconds: The same where AWS is away. What is in hand is kept so long, since drawing it
            again would cost more than waiting does.
    """

    first_seconds: float = 0.25
    longest_seconds: float = 8.0
    total_seconds: float = 60.0
    away_seconds: float = 3600.0


class Retrier:
    """Calls what may fail, again and again, until it works or there is no more time."""

    def __init__(self, shutdown: Shutdown, backoff: Backoff) -> None:
        """Set the terms.

        Args:
            shutdown: Ends all trying when its time is up.
            backoff: How long and how often.
        """
        self._shutdown = shutdown
        self._backoff = backoff

    @property
    def stopping(self) -> bool:
        """Whether nothing new may be begun, which ends the tries of what has not begun."""
        return self._shutdown.requested

    def call(
        self,
        what: str,
        action: Callable[[], _T],
        *,
        final: tuple[type[Exception], ...] = (),
        begun: bool = True,
    ) -> _T:
        """Call an action until it works.

        Args:
            what: What it does, for the log.
            action: The action. It must be harmless to repeat.
            final: Errors for which there is no use in another try.
            begun: Whether it is for a task that has begun, which a stop lets go on for a while.

        Returns:
            What the action returned.

        Raises:
            Exception: The action's last error.
        """
        began = time.monotonic()
        pause = self._backoff.first_seconds
        may_go_on = self._shutdown.pause if begun else self._shutdown.pause_unless_requested
        while True:
            try:
                return action()
            except final:
                raise
            except Exception as error:
                # Agents that failed together should not come back together.
                wait = pause * random.uniform(0.5, 1.0)
                late = time.monotonic() + wait - began > self._patience(error)
                if late or not may_go_on(wait):
                    raise
                _LOG.warning("%s failed, trying again: %s", what, error)
                pause = min(2 * pause, self._backoff.longest_seconds)

    def _patience(self, error: Exception) -> float:
        return self._backoff.away_seconds if is_away(error) else self._backoff.total_seconds
