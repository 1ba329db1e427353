"""A call that blocks, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


class Job:
    """A call that somebody waits for, or no longer."""

    def __init__(self, call: Callable[[], Any]) -> None:
        """Start it.

        Args:
            call: What to call.
        """
        self._call = call
        self._result: Any = None
        self._error: BaseException | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="engine-call", daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for its end; tell whether it has come."""
        return self._ended.wait(seconds)

    def result(self) -> Any:
        """Return what it returned, or raise what it raised, once it has ended."""
        if self._error is not None:
            raise self._error
        return self._result

    def _run(self) -> None:
        try:
            self._result = self._call()
        except BaseException as error:
            self._error = error
        finally:
            self._ended.set()
