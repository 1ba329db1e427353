"""Draws what `benchmarks.routing` measured, and writes it into the page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw."""


def with_measured(page: str, report: Mapping[str, Any]) -> str:
    """Return the page."""
    return page
