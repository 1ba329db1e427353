"""What it would cost to have a model again, and so which one to remove for another.

GreedyDual-Size (Cao and Irani, 1997): the worth of a model is what a byte of it costs to bring
again, and begins anew at each use; it goes stale by as much as the worth of what was removed since.
Of models that cost the same, the one goes first that was used longest ago. A small one, most of
whose time is spent before the first byte, stays longer than a large one.

    <directory>/age               the worth of what was removed last
    <model's directory>/.use      the worth of a model; changed at its last use
"""

from __future__ import annotations

import contextlib
import math
import os
import threading
from pathlib import Path

_USE = ".use"
_AGE = "age"


class ReloadCosts:
    """Keeps the worth of models, for all agents on a machine."""

    def __init__(self, directory: Path) -> None:
        """Connect.

        Args:
            directory: The cache's directory.
        """
        self._age = directory / _AGE
        # Most uses are of the model that was used last.
        self._noted: tuple[Path, float] | None = None

    def use(self, path: Path, *, seconds: float, size: int) -> None:
        """Note that a model is used.

        Args:
            path: Its directory.
            seconds: How long it took to bring.
            size: Its bytes.
        """
        noted = (path, _read(self._age) + _per_byte(seconds, size))
        if noted == self._noted:
            with contextlib.suppress(OSError):
                os.utime(path / _USE)
                return
        _write(path / _USE, noted[1])
        self._noted = noted

    def worth(self, path: Path) -> tuple[float, float]:
        """Return what says which model goes first: the one with the least.

        Args:
            path: A model's directory.
        """
        try:
            used_at = (path / _USE).stat().st_mtime
        except OSError:
            used_at = 0.0
        return _read(path / _USE), used_at

    def remove(self, worth: tuple[float, float]) -> None:
        """Note that a model is removed, by whoever may remove models now.

        Args:
            worth: What it was worth.
        """
        _write(self._age, max(worth[0], _read(self._age)))


def _per_byte(seconds: float, size: int) -> float:
    """Return the cost of a byte as a power of two: what differs by less differs by chance."""
    return math.pow(2.0, round(math.log2(max(seconds, 1e-6) / max(size, 1))))


def _read(path: Path) -> float:
    with contextlib.suppress(OSError, ValueError):
        return float(path.read_text("ascii"))
    return 0.0


def _write(path: Path, value: float) -> None:
    """Write a number so that nobody reads half of it; on a full disk the old one stays."""
    beside = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    with contextlib.suppress(OSError):
        beside.write_text(repr(value), "ascii")
        beside.replace(path)
