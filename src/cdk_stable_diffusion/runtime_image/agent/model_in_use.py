"""A model while the agent uses it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from ...contract import GenerationDefaults
from ...contract.tiers import DISK
from .engine import ModelDirectory


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelInUse:
    """A model that is in use: it stays on the disk until `close`.

    Attributes:
        directory: What the engine loads.
        defaults: What a request runs with where it says nothing.
        tier: Where it was before: `contract.tiers.DISK`, or `S3` if it was brought for this use.
    """

    directory: ModelDirectory
    defaults: GenerationDefaults
    tier: str = DISK
    _lock: int | None = field(default=None, repr=False)

    def close(self) -> None:
        """Say that it is no longer in use."""
        if self._lock is not None:
            os.close(self._lock)
