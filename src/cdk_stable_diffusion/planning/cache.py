"""Where a replica keeps models: GPU memory, host memory, disk; what is nowhere is in S3."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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

    def __iter__(self) -> Iterator[int]:
        """Return the models, the one that was used last first."""
        return reversed(self._models)

    def use(self, model: int) -> Sequence[int]:
        """Put a model in, or note that it was used.

        Args:
            model: The model. One that is larger than the tier is not kept.

        Returns:
            Those that gave way.
        """
        models = self._models
        if model in models:
            del models[model]
            models[model] = None
            return ()
        size = self._sizes[model]
        if size > self._room:
            return ()
        self._used += size
        gone = []
        while self._used > self._room:
            oldest = next(iter(models))
            del models[oldest]
            self._used -= self._sizes[oldest]
            gone.append(oldest)
        models[model] = None
        return gone

    def remove(self, model: int) -> None:
        """Take a model out, if it is there."""
        if model in self._models:
            del self._models[model]
            self._used -= self._sizes[model]


class Cache:
    """The tiers of one replica: a model is on the GPU or in memory, and on the disk besides."""

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

    def near(self) -> Iterator[int]:
        """Return the models on the GPU and in memory, the nearest and the last used first."""
        yield from self._gpu
        yield from self._ram

    def fetch(self, model: int) -> None:
        """Bring a model to the disk."""
        self._disk.use(model)

    def warm(self, model: int) -> None:
        """Bring a model to memory, if there is any and it is not on the GPU."""
        if model not in self._gpu:
            self._ram.use(model)

    def load(self, model: int) -> None:
        """Bring a model to the GPU, and what gives way there to memory."""
        self._ram.remove(model)
        for other in self._gpu.use(model):
            self._ram.use(other)
