"""Bringing to the disk what will be opened soon, beside everything else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from .engine import ModelDirectory

_MOST_WAITING = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """Something that will be opened soon.

    Attributes:
        name: Its name.
        kind: What it must be.
        then: What to do once it is there.
    """

    name: str
    kind: str
    then: Callable[[ModelDirectory], None] | None = field(default=None, compare=False)


class FetchAhead:
    """Fetches one after the other, in a thread of its own."""

    def __init__(self, fetch: Callable[[Wanted], None]) -> None:
        """Prepare; the thread starts with the first that is wanted.

        Args:
            fetch: Fetches. Raises nothing.
        """
        self._fetch = fetch
        self._changed = threading.Condition()
        # Whatever waits behind so many was opened by now, or is not needed soon.
        self._waiting: deque[Wanted] = deque(maxlen=_MOST_WAITING)
        self._thread: threading.Thread | None = None

    def want(self, wanted: Wanted) -> None:
        """Fetch something soon. Never waits.

        Args:
            wanted: What to fetch.
        """
        with self._changed:
            if wanted not in self._waiting:
                self._waiting.append(wanted)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="fetch-ahead", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                wanted = self._waiting.popleft()
            self._fetch(wanted)
