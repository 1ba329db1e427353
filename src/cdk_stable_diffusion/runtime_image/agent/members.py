"""Which replicas of the runtime live: by them, each lane has a home.

All that know of the same replicas agree without a word. Who has an older view takes tasks that
another expects: that costs loads of models, and no task.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, unquote

from ...contract import AgentEnvironment
from .kubernetes_members import KubernetesMembers
from .members_view import MembersView

_LOOK_SECONDS = 0.5
_SUFFIX = ".replica"


class Members(Protocol):
    """The replicas that live."""

    def start(self) -> None:
        """Begin to look."""

    def members(self) -> tuple[str, ...]:
        """Return their names as last seen, without waiting; this replica is always among them."""

    def wait_for_view(self, timeout: float) -> None:
        """Wait until they have been seen for the first time, or this replica is to leave."""

    def leave(self) -> None:
        """Be one of them no more."""


class Alone:
    """A replica that knows of no other."""

    def __init__(self, name: str) -> None:
        """Be alone.

        Args:
            name: This replica's name.
        """
        self._name = name

    def start(self) -> None:
        """Do nothing."""

    def members(self) -> tuple[str, ...]:
        """Return its own name."""
        return (self._name,)

    def wait_for_view(self, timeout: float) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""


def members_for(
    environment: AgentEnvironment, name: str, *, is_ready: Callable[[], bool]
) -> Members:
    """Return how to see the replicas of a runtime.

    Args:
        environment: Where they find each other.
        name: This replica's name.
        is_ready: Whether this replica can take tasks, and so be a home.
    """
    if environment.members_directory:
        return FileMembers(Path(environment.members_directory), name, is_ready=is_ready)
    if environment.members_service:
        return KubernetesMembers(environment.members_service, name)
    return Alone(name)


class FileMembers(MembersView):
    """Replicas on one machine, each of which has a locked file in a directory.

    The kernel drops the lock of a process that dies.
    """

    def __init__(self, directory: Path, name: str, *, is_ready: Callable[[], bool]) -> None:
        """Prepare, without starting.

        Args:
            directory: The directory of the runtime.
            name: This replica's name.
            is_ready: Whether this replica can take tasks, and so be a home.
        """
        super().__init__(name, look_seconds=_LOOK_SECONDS)
        self._directory = directory
        self._is_ready = is_ready
        self._lock: int | None = None
        self._at_the_lock = threading.Lock()

    def leave(self) -> None:
        """Unlock this replica's file."""
        super().leave()
        with self._at_the_lock:
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    def _look(self) -> list[str]:
        self._join_if_ready()
        return self._others()

    def _join_if_ready(self) -> None:
        with self._at_the_lock:
            if self._lock is None and not self._left.is_set() and self._is_ready():
                self._directory.mkdir(parents=True, exist_ok=True)
                self._lock = _try_lock(self._directory / _file_name(self._name), fcntl.LOCK_EX)

    def _others(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        files = {path.name for path in self._directory.iterdir() if path.suffix == _SUFFIX}
        return [
            unquote(file.removesuffix(_SUFFIX))
            for file in files - {_file_name(self._name)}
            if _is_locked(self._directory / file)
        ]


def _file_name(name: str) -> str:
    return quote(name, safe="") + _SUFFIX


def _is_locked(path: Path) -> bool:
    descriptor = _try_lock(path, fcntl.LOCK_SH)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False


def _try_lock(path: Path, kind: int) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, descriptor)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        stack.pop_all()
    return descriptor
