"""What a pass takes of the memory, and how many pictures the next has memory for."""

from __future__ import annotations

from typing import Protocol

import torch

_SHARE = 0.85
"""What a pass may use of the memory that is free: the rest is for what is not proportional."""


class Device(Protocol):
    """The memory of a device, in bytes."""

    def begin(self) -> int:
        """Forget the peak, and return what is in use."""

    def peak(self) -> int:
        """Return the most that was in use since then."""

    def free(self) -> int:
        """Return what could be allocated besides what is in use."""


class Room(Protocol):
    """How much memory a device has, in bytes."""

    def free(self) -> int:
        """Return what could be allocated besides what is in use."""

    def total(self) -> int:
        """Return all that it has."""


class CudaDevice:
    """The memory of the GPU."""

    def begin(self) -> int:
        """Forget the peak, and return what is in use."""
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())

    def peak(self) -> int:
        """Return the most that was in use since then."""
        return int(torch.cuda.max_memory_allocated())

    def free(self) -> int:
        """Return what could be allocated besides what is in use."""
        free, _ = torch.cuda.mem_get_info()
        # What torch keeps for itself without using it is free for it.
        return int(free + torch.cuda.memory_reserved() - torch.cuda.memory_allocated())

    def total(self) -> int:
        """Return all that it has."""
        _, total = torch.cuda.mem_get_info()
        return int(total)


class PassMemory:
    """Measures one pass after the other. For one thread.

    Denoising takes memory for each picture of a pass. Decoding does not, since it is done for one
    picture after the other: it has fitted once, and will fit for any number.
    """

    def __init__(self, device: Device | None) -> None:
        """Prepare.

        Args:
            device: What to measure; None for memory that is not limited, or not to be measured.
        """
        self._device = device
        self._base = 0
        self._free = 0
        self._denoising = 0

    def begin(self, spare: int = 0) -> None:
        """A pass begins.

        Args:
            spare: Bytes in use that would be given back for it: those of other models.
        """
        if self._device is not None:
            self._base = self._device.begin()
            self._free = self._device.free() + spare
            self._denoising = 0

    def step(self) -> None:
        """A denoising step of it is done."""
        if self._device is not None:
            self._denoising = self._device.peak() - self._base

    def taken(self) -> int:
        """Return the most that the pass took until now."""
        return 0 if self._device is None else max(0, self._device.peak() - self._base)

    def most_pictures(self, pictures: int) -> int | None:
        """Return how many pictures the next pass of this kind has memory for.

        Args:
            pictures: How many this one had.

        Returns:
            The number; None if memory does not limit it, as far as is known.
        """
        if self._device is None or self._denoising <= 0:
            return None
        return max(1, int(_SHARE * self._free * pictures / self._denoising))
