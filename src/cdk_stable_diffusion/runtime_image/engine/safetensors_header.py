"""The header of a safetensors file, which names its tensors: JSON, read without the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .failure import EngineFailure

_MAX_BYTES = 100_000_000
"""As much as the format's own library reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a safetensors file says of itself.

    Attributes:
        shapes: Shape of each tensor by its key.
        types: The types that occur, such as "F16".
        metadata: What its maker wrote.
    """

    shapes: Mapping[str, tuple[int, ...]]
    types: frozenset[str]
    metadata: Mapping[str, str]


def read_header(path: Path) -> Header:
    """Read the header of a safetensors file.

    Args:
        path: The file.

    Raises:
        EngineFailure: If it is not one.
    """
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > _MAX_BYTES:
                raise ValueError("its first bytes are not the length of a header")
            values = json.loads(file.read(size))
        return _header(values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EngineFailure(
            "model-invalid", f"{path.name} is no safetensors file: {error}"
        ) from None


def _header(values: dict[str, Any]) -> Header:
    metadata = values.pop("__metadata__", {})
    return Header(
        shapes={key: tuple(int(side) for side in value["shape"]) for key, value in values.items()},
        types=frozenset(str(value["dtype"]) for value in values.values()),
        metadata={str(key): str(value) for key, value in metadata.items()},
    )
