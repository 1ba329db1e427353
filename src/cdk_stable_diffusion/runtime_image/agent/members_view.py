"""A view of the replicas that live, which a thread renews again and again."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable

_LOG = logging.getLogger(__name__)


class MembersView(ABC):
    """The replicas as last seen, with this one in any case. While a look fails, the last stands."""

    def __init__(
        self, name: str, *, look_seconds: float, longest_pause_seconds: float | None = None
    ) -> None:
        """Prepare, without starting.

        Args:
            name: This replica's name.
            look_seconds: How long between two looks.
            longest_pause_seconds: How long between two at most while they fail. Default: no longer.
        """
        self._name = name
        self._look_seconds = look_seconds
        self._longest_pause_seconds = longest_pause_seconds or look_seconds
        self._members: tuple[str, ...] = (name,)
        self._seen = threading.Event()
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._run, name="members", daemon=True)

    def start(self) -> None:
        """Start the thread that looks."""
        self._thread.start()

    def members(self) -> tuple[str, ...]:
        """Return their names as last seen."""
        return self._members

    def wait_for_view(self, timeout: float) -> None:
        """Wait until they have been seen."""
        self._seen.wait(timeout)

    def leave(self) -> None:
        """Look no more."""
        self._left.set()
        self._seen.set()

    @abstractmethod
    def _look(self) -> Iterable[str]:
        """Return the names of the replicas that live; this one may be missing."""

    def _run(self) -> None:
        pause = self._look_seconds
        while True:
            try:
                found = tuple(sorted({self._name, *self._look()}))
                pause = self._look_seconds
                if found != self._members:
                    self._members = found
                    _LOG.info("replicas", extra={"replicas": found})
                self._seen.set()
            except Exception as error:
                _LOG.warning("could not look for the other replicas: %s", error)
                pause = min(2 * pause, self._longest_pause_seconds)
            if self._left.wait(pause):
                return
