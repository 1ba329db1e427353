"""Where models are: on the device as many as fit beside the drawing, then in the host's memory."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic

from ...contract.tiers import DISK, GPU, MEMORY
from .device_errors import is_out_of_memory
from .failure import EngineFailure
from .greedy_dual import GreedyDual
from .memory import Room
from .shelf import Held, M, Shelf

_LOG = logging.getLogger(__name__)

_FREE_AT_FIRST = 0.3
"""What of the device is kept free for drawing, as long as no drawing has shown what it takes."""

_FREE_AT_LEAST = 0.15
_MORE_THAN_SEEN = 1.25
_FORGETTING = 0.99
"""What is left, after another drawing, of the most that one has taken."""


class Placement(Generic[M]):
    """Moves models to where they are needed, and others out of their way.

    For one thread, but for `put`, `make_room`, `has` and `held`.
    """

    def __init__(
        self,
        device: Room | None,
        shelf: Shelf[M],
        *,
        told: Callable[[Mapping[str, str]], None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin without a model.

        Args:
            device: The device's memory; None where that is the host's, which holds one model to
                draw with.
            shelf: The host's memory for the others.
            told: Called with what is held, by digest, whenever that changes. Default: nobody is.
            clock: Counts seconds. Default: the real one.
        """
        self._device = device
        self._shelf = shelf
        self._told = told
        self._clock = clock
        self._on_device: dict[str, Held[M]] = {}
        self._order = GreedyDual()
        self._taken = 0.0
        self._last_told: dict[str, str] = {}
        self._telling = threading.Lock()

    @property
    def held(self) -> dict[str, str]:
        """Where models are, by their digest."""
        return {**dict.fromkeys(self._shelf, MEMORY), **dict.fromkeys(tuple(self._on_device), GPU)}

    def has(self, digest: str) -> bool:
        """Tell whether a model is held anywhere."""
        return digest in self._on_device or digest in self._shelf

    def spare(self, digest: str) -> int:
        """Return the bytes on the device that all models but one have."""
        return sum(held.size for name, held in self._on_device.items() if name != digest)

    def make_room(self, size: int) -> bool:
        """Give models in the host's memory up for one that is about to be read.

        Args:
            size: How many bytes it has, as far as its files tell.

        Returns:
            Whether it fits.
        """
        fits = self._shelf.make_room(size)
        # It may come to nothing, and then nothing else would tell of those that are gone.
        self._tell()
        return fits

    def put(self, digest: str, model: M, *, seconds: float) -> None:
        """Take in a model that was read into the host's memory.

        Args:
            digest: Its digest.
            model: The model.
            seconds: How long it took to read it.
        """
        # How long it takes to move it is not known yet; half is as good a guess as any.
        held = Held(model, model.size, load_seconds=seconds, move_seconds=seconds / 2)
        if self.has(digest) or not self._shelf.put(digest, held):
            model.drop()
        self._tell()

    def bring(self, digest: str, read: Callable[[], M], *, size: int) -> tuple[M, str]:
        """Bring a model to the device.

        Args:
            digest: Its digest.
            read: Reads it into the host's memory; called if it is not held.
            size: How many bytes it has on the device, as far as its files tell.

        Returns:
            The model, and where it was.

        Raises:
            EngineFailure: If that is impossible. Other models stay where they are, but for those
                that had to make room.
        """
        try:
            held, tier = self._brought(digest, read, size)
        finally:
            self._tell()
        self._order.use(digest, seconds=self._lost_off_device(held), size=held.size)
        return held.model, tier

    def drew(self, taken: int) -> None:
        """Learn what a drawing takes besides models.

        Args:
            taken: Bytes of the device.
        """
        self._taken = max(_FORGETTING * self._taken, taken)

    def leave_alone(self, digest: str | None) -> bool:
        """Move all models but one off the device.

        Args:
            digest: The one; None for none.

        Returns:
            Whether there were any.
        """
        others = [name for name in self._on_device if name != digest]
        for name in others:
            self._move_out(name)
        if others:
            self._tell()
        return bool(others)

    def _brought(self, digest: str, read: Callable[[], M], size: int) -> tuple[Held[M], str]:
        held = self._on_device.get(digest)
        if held is not None:
            return held, GPU
        held = self._shelf.take(digest)
        tier = DISK if held is None else MEMORY
        self._clear_device(size if held is None else held.size)
        # Before the load, which takes long: until then the agent counts on what has made room.
        self._tell()
        began = self._clock()
        model = self._read(read) if held is None else held.model
        read_at = self._clock()
        try:
            self._move_in(model)
        except BaseException:
            model.drop()
            raise
        now = self._clock()
        if held is None:
            held = Held(model, model.size, load_seconds=now - began, move_seconds=now - read_at)
        held.move_seconds = now - read_at
        self._on_device[digest] = held
        return held, tier

    def _read(self, read: Callable[[], M]) -> M:
        try:
            return read()
        except EngineFailure as failure:
            if not is_out_of_memory(failure) or not self._shelf.clear():
                raise
            _LOG.warning("no memory to read a model, others are given up: %s", failure)
        return read()

    def _move_in(self, model: M) -> None:
        try:
            model.to_device()
            return
        except EngineFailure as failure:
            if not is_out_of_memory(failure) or not self._on_device:
                raise
            _LOG.warning("no memory to load a model, others make room: %s", failure)
        self.leave_alone(None)
        model.to_device()

    def _clear_device(self, size: int) -> None:
        while not self._fits(size) and (name := self._order.least()) is not None:
            self._move_out(name)

    def _fits(self, size: int) -> bool:
        if self._device is None:
            return False
        total = self._device.total()
        if self._taken:
            kept_free = max(_MORE_THAN_SEEN * self._taken, _FREE_AT_LEAST * total)
        else:
            kept_free = _FREE_AT_FIRST * total
        return self._device.free() >= size + kept_free

    def _move_out(self, digest: str) -> None:
        held = self._on_device.pop(digest)
        self._order.give_up(digest)
        # More may have been read for it since.
        held.size = held.model.size
        if self._shelf.make_room(held.size):
            try:
                held.model.to_memory()
            except EngineFailure as failure:
                _LOG.warning("a model is given up: %s", failure)
            else:
                if self._shelf.put(digest, held):
                    return
        held.model.drop()

    def _lost_off_device(self, held: Held[M]) -> float:
        """Return what it costs to get a model back that is moved off the device."""
        fits = held.size <= self._shelf.most_bytes
        return held.move_seconds if fits else held.load_seconds

    def _tell(self) -> None:
        with self._telling:
            held = self.held
            if held != self._last_told:
                self._last_told = held
                if self._told is not None:
                    self._told(held)
