"""How far pictures are from each other."""

from __future__ import annotations


def difference(one: bytes, other: bytes) -> int:
    """Return by how many levels the pixels differ that differ most.

    Args:
        one: The bytes of a picture.
        other: Those of another of the same size.
    """
    return max(abs(a - b) for a, b in zip(one, other, strict=True))
