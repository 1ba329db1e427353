"""Models that wait in the host's memory, as many as fit."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from .greedy_dual import GreedyDual


class Movable(Protocol):
    """A model that can be moved between the host's memory and the device that draws."""

    @property
    def size(self) -> int:
        """Its bytes."""

    def to_device(self) -> None:
        """Move it to the device, beginning where it was left if that has failed.

        Raises:
            EngineFailure: If there is no room, as "out-of-memory".
        """

    def to_memory(self) -> None:
        """Move it to the host's memory.

        Raises:
            EngineFailure: If there is no room, as "out-of-memory".
        """

    def drop(self) -> None:
        """Let go of its memory at once, whoever still knows of it."""


M = TypeVar("M", bound=Movable)


@dataclass(slots=True)
class Held(Generic[M]):
    """A model, and what it costs to have it and to get it back, as it was measured.

    Attributes:
        model: The model.
        size: Its bytes when it was last moved; counting them takes time.
        load_seconds: How long it takes from its files to the device.
        move_seconds: How long it takes from the host's memory to the device.
    """

    model: M
    size: int
    load_seconds: float
    move_seconds: float


class Shelf(Generic[M]):
    """Models in the host's memory. For any thread: what is read ahead is put there by another."""

    def __init__(self, most_bytes: int) -> None:
        """Begin without a model.

        Args:
            most_bytes: Most bytes of all of them.
        """
        self.most_bytes = most_bytes
        self._held: dict[str, Held[M]] = {}
        self._order = GreedyDual()
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[str]:
        """Return the digests of what is there."""
        return iter(tuple(self._held))

    def __contains__(self, digest: str) -> bool:
        """Tell whether a model is there."""
        return digest in self._held

    def make_room(self, size: int) -> bool:
        """Give models up until some bytes fit.

        Args:
            size: How many.

        Returns:
            Whether they fit.
        """
        with self._lock:
            return self._make_room(size)

    def put(self, digest: str, held: Held[M]) -> bool:
        """Put a model there, and give others up for it where that is needed.

        Args:
            digest: Its digest.
            held: The model, which is in the host's memory.

        Returns:
            Whether it is there now. It is not if another of that digest is, or if there can be no
            room for it.
        """
        with self._lock:
            if digest in self._held or not self._make_room(held.size):
                return False
            self._held[digest] = held
            seconds = max(0.0, held.load_seconds - held.move_seconds)
            self._order.use(digest, seconds=seconds, size=held.size)
            return True

    def take(self, digest: str) -> Held[M] | None:
        """Take a model away; None if it is not there."""
        with self._lock:
            self._order.remove(digest)
            return self._held.pop(digest, None)

    def clear(self) -> bool:
        """Give all models up, and tell whether there were any."""
        with self._lock:
            held, self._held, self._order = self._held, {}, GreedyDual()
        for each in held.values():
            each.model.drop()
        return bool(held)

    def _make_room(self, size: int) -> bool:
        if size > self.most_bytes:
            return False
        while sum(each.size for each in self._held.values()) + size > self.most_bytes:
            digest = self._order.least()
            assert digest is not None
            self._order.give_up(digest)
            self._held.pop(digest).model.drop()
        return True
