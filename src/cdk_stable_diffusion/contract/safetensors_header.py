"""The header of a safetensors file: names and shapes of its tensors, without reading any.

8 bytes length of the JSON, little-endian | JSON | the tensors' bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import strict_json

MAX_HEADER_BYTES = 16 << 20
"""More than any model's header has; the format itself allows 100 MB."""

_LENGTH_BYTES = 8
_METADATA = "__metadata__"


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a safetensors file says of itself.

    Attributes:
        shapes: Shape of each tensor by its name.
        types: The types that occur, such as "F16".
        metadata: What its maker wrote.
    """

    shapes: Mapping[str, tuple[int, ...]]
    types: frozenset[str]
    metadata: Mapping[str, str]


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a file, by its name.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no safetensors file.
    """
    return dict(read_header(path).shapes)


def read_header(path: Path) -> Header:
    """Read a file's header.

    Args:
        path: The file.

    Raises:
        ValueError: If it is no safetensors file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        room = path.stat().st_size - _LENGTH_BYTES
        if not 0 < length <= min(room, MAX_HEADER_BYTES):
            raise ValueError("is no safetensors file: it does not begin with its header's length")
        data = file.read(length)
    try:
        header = strict_json.loads(data.decode("utf-8"))
    except ValueError as error:
        raise ValueError(f"is no safetensors file: its header {error}") from None
    if not isinstance(header, dict):
        raise ValueError("is no safetensors file: its header is no JSON object")
    metadata = header.pop(_METADATA, None)
    return Header(
        shapes={name: _shape(value) for name, value in header.items()},
        types=frozenset(str(value.get("dtype")) for value in header.values()),
        metadata=(
            {key: str(value) for key, value in metadata.items()}
            if isinstance(metadata, dict)
            else {}
        ),
    )


def _shape(value: Any) -> tuple[int, ...]:
    shape = value.get("shape") if isinstance(value, dict) else None
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("is no safetensors file: a tensor in its header has no shape")
    return tuple(shape)
