"""Where a replica keeps models: GPU memory, host memory, disk; what is nowhere is in S3."""

from __future__ import annotations

from collections.abc import Sequence

GPU, RAM, DISK, S3 = range(4)
"""The tiers, the nearest first."""

TIERS = ("GPU", "RAM", "disk", "S3")

_ROUNDING = 1e-9


class Tier:
    """Models within so many gibibytes; the one that was not used for longest gives way."""

    __slots__ = ("_models", "_room", "_sizes", "_used")

    def __init__(self, gibibytes: float, sizes: Sequence[float]) -> None:
        """Begin empty.

        Args:
            gibibytes: How much it holds.
            sizes: Gibibytes of each model.
        """
        self._room = gibibytes + _ROUNDING
        self._sizes = sizes
        # In the order of their last use, as a dict keeps the order in which keys came.
        self._models: dict[int, None] = {}
        self._used = 0.0

    def __contains__(self, model: int) -> bool:
        return model in self._models

    def use(self, model: int) -> None:
        """Put a model in, or note that it was used.

        Args:
            model: The model. One that is larger than the tier is not kept.
        """
        models = self._models
        if model in models:
            del models[model]
            models[model] = None
            return
        size = self._sizes[model]
        if size > self._room:
            return
        self._used += size
        while self._used > self._room:
            oldest = next(iter(models))
            del models[oldest]
            self._used -= self._sizes[oldest]
        models[model] = None


class Cache:
    """The tiers of one replica. What is in a near tier may be in a farther one, too."""

    __slots__ = ("_disk", "_gpu", "_ram")

    def __init__(self, gibibytes: Sequence[float], sizes: Sequence[float]) -> None:
        """Begin empty.

        Args:
            gibibytes: How much GPU, host memory and disk hold.
            sizes: Gibibytes of each model.
        """
        self._gpu, self._ram, self._disk = (Tier(each, sizes) for each in gibibytes)

    def nearest(self, model: int) -> int:
        """Return the nearest tier that has a model."""
        if model in self._gpu:
            return GPU
        if model in self._ram:
            return RAM
        return DISK if model in self._disk else S3

    def fetch(self, model: int) -> None:
        """Bring a model as near as host memory."""
        self._ram.use(model)
        self._disk.use(model)

    def load(self, model: int) -> None:
        """Bring a model to the GPU."""
        self._gpu.use(model)
