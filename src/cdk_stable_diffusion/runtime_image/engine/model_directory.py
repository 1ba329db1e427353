"""A model's directory, checked before any library reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from ...contract.model import code_faults
from ...contract.model_kind import PIPELINE_INDEX_NAME, checkpoint_name
from ...contract.safetensors_header import tensor_shapes
from .failure import EngineFailure
from .pipeline_classes import pipeline_class

_CONTROL = "controlnet"
_CHECKER = "safety_checker"
_LIBRARIES = frozenset({"diffusers", "transformers", "stable_diffusion", "stable_diffusion_xl"})
_MOST_NUMBERS_IN_A_BYTE = 2


def checkpoint_in(directory: Path) -> Path | None:
    """Return a directory's single-file checkpoint; None if it is a pipeline's directory.

    Args:
        directory: The directory.

    Raises:
        EngineFailure: If it holds neither, or a file that runs code when it is read.
    """
    paths = sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))
    if faults := code_faults(paths):
        raise EngineFailure("model-invalid", faults[0])
    name = checkpoint_name(paths)
    if name is None and PIPELINE_INDEX_NAME not in paths:
        raise EngineFailure(
            "model-invalid",
            f"is no model for diffusers: it has no {PIPELINE_INDEX_NAME} and no single "
            ".safetensors file at its top",
        )
    return None if name is None else directory / name


def checked_pipeline_class(directory: Path) -> Any:
    """Check that a pipeline's directory can be loaded without running code of its own.

    Args:
        directory: The directory, after `checkpoint_in`.

    Returns:
        The class of its pipeline.

    Raises:
        EngineFailure: If it is of a class that is not supported, or names others' code.
    """
    index = _index(directory)
    for name, value in index.items():
        if name.startswith("_") or not isinstance(value, list):
            continue
        library = value[0] if value else None
        if library is not None and library not in _LIBRARIES:
            raise EngineFailure(
                "model-invalid",
                f"component {name[:64]!r} comes from {str(library)[:64]!r}; allowed: "
                f"{', '.join(sorted(_LIBRARIES))}",
            )
    return pipeline_class(index.get("_class_name", ""))


def variant_of(directory: Path) -> str | None:
    """Return the variant that the weights' names carry, such as "fp16"; None for plain names."""
    names = [
        path.name
        for path in directory.rglob("*.safetensors")
        # It is loaded for itself, and may carry another.
        if path.relative_to(directory).parts[0] != _CONTROL
    ]
    if names and all(name.endswith(".fp16.safetensors") for name in names):
        return "fp16"
    return None


def weights_size(directory: Path, *, bytes_each: int, with_checker: bool = False) -> int:
    """Return how many bytes a model has once it is loaded, as far as its files tell.

    Args:
        directory: Its directory.
        bytes_each: Bytes of each number in memory.
        with_checker: Whether its safety checker is loaded, too. Default: no.
    """
    size = 0
    for path in _loaded_weights(directory, with_checker=with_checker):
        try:
            numbers = sum(map(prod, tensor_shapes(path).values()))
            # Whatever it says of itself, it cannot hold more.
            size += min(numbers, _MOST_NUMBERS_IN_A_BYTE * path.stat().st_size) * bytes_each
        except (OSError, ValueError):
            # Whoever loads it says what is wrong.
            continue
    return size


def _loaded_weights(directory: Path, *, with_checker: bool) -> Iterator[Path]:
    """Return the files that are read of all that may lie in a model's directory."""
    is_pipeline = (directory / PIPELINE_INDEX_NAME).is_file()
    # Beside the plain ones published models have others, such as "model.fp16.safetensors".
    is_plain = is_pipeline and variant_of(directory) is None
    for path in directory.rglob("*.safetensors"):
        folder = path.relative_to(directory).parts[0]
        is_of_part = path.parent != directory
        if (
            folder != _CONTROL
            and (with_checker or folder != _CHECKER)
            and (is_of_part or not is_pipeline)
            and not (is_plain and "." in path.stem)
        ):
            yield path


def _index(directory: Path) -> dict[str, Any]:
    try:
        index = json.loads((directory / "model_index.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EngineFailure("model-invalid", f"model_index.json cannot be read: {error}") from None
    if not isinstance(index, dict):
        raise EngineFailure("model-invalid", "model_index.json is not an object")
    return index
