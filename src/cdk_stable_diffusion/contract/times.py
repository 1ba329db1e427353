"""Times on the wire: RFC 3339, UTC, milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .fields import Text

_PATTERN = r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z"
_SAYS = "a UTC time such as 2026-01-31T12:00:00.000Z"


@dataclass(frozen=True)
class Moment(Text):
    """A field that holds a moment."""

    max_length: int = 24
    pattern: str | None = _PATTERN
    pattern_says: str = _SAYS

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value; the pattern alone would let 30 February through."""
        found = super().faults(value)
        if not found:
            try:
                parse_timestamp(value)
            except ValueError:
                found.append(f"must be {_SAYS}, is {value!r}, which does not exist")
        return found


def timestamp(moment: datetime | None = None) -> str:
    """Write a moment as text.

    Args:
        moment: An aware datetime. Default: now.

    Returns:
        Text such as ``2026-01-31T12:00:00.000Z``.
    """
    utc = (moment or datetime.now(timezone.utc)).astimezone(timezone.utc)
    return utc.strftime("%Y-%m-%dT%H:%M:%S.") + f"{utc.microsecond // 1000:03d}Z"


def parse_timestamp(text: str) -> datetime:
    """Read a moment that `timestamp` wrote.

    Args:
        text: The text.

    Returns:
        An aware datetime.

    Raises:
        ValueError: If the text is not such a time.
    """
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=timezone.utc)
