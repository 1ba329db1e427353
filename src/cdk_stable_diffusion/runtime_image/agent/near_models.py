"""Which models the engine has, by their names and how near they are."""

from __future__ import annotations

from ...contract import tiers
from .engine import Engine

GPU, MEMORY, AWAY = 0, 1, 2
"""How near: ready to draw, in the host's memory, or neither."""

_BY_TIER = {tiers.GPU: GPU, tiers.MEMORY: MEMORY}
_MOST_NAMES = 1_000


class NearModels:
    """What the engine holds, and what it is about to. Safe for many threads."""

    def __init__(self, engine: Engine) -> None:
        """Connect.

        Args:
            engine: What makes pictures.
        """
        self._engine = engine
        self._digests: dict[str, str] = {}
        self._current: str | None = None

    def uses(self, name: str) -> None:
        """Hear which model the GPU works with from now on, though it may yet be loaded."""
        self._current = name

    def is_known(self, name: str, digest: str) -> None:
        """Hear which weights a model's name stands for."""
        if len(self._digests) >= _MOST_NAMES:
            self._digests = {}
        self._digests[name] = digest

    def is_loaded(self, name: str, digest: str) -> bool:
        """Tell whether the engine works with a model now, has it, and is known to by this name."""
        is_current = name == self._current and digest == self._digests.get(name)
        return is_current and digest == self._engine.health().model

    def tiers(self) -> dict[str, int]:
        """Return how near models are; those that are not there are away. The nearest is first."""
        health = self._engine.health()
        held = dict(health.held)
        if health.model is not None:
            held[health.model] = tiers.GPU
        found = {
            name: _BY_TIER[held[digest]]
            for name, digest in self._digests.copy().items()
            if held.get(digest) in _BY_TIER
        }
        if self._current is not None:
            found[self._current] = GPU
        # Of several on the GPU, the one that it works with.
        return dict(sorted(found.items(), key=lambda each: (each[1], each[0] != self._current)))
