"""What is added to a model: its files, checked before any library reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...contract.model import code_faults
from ...contract.model_kind import KIND_IN_WORDS, kind_of_tensors, weights_path
from ...contract.safetensors_header import tensor_shapes
from .failure import EngineFailure

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Asset:
    """Something to add to a model; see the agent's `AssetDirectory`."""

    name: str
    digest: str
    directory: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Weights:
    """The checked weights of something to add.

    Attributes:
        path: The file.
        shapes: The shape of each tensor in it.
    """

    path: Path
    shapes: Shapes


def checked_weights(asset: Asset, kind: str) -> Weights:
    """Check that a directory holds one file of weights, of the right kind.

    Args:
        asset: What is to be added.
        kind: What it must be; one of `contract.model_kind.MODEL_KINDS`.

    Raises:
        EngineFailure: If it is something else, or holds a file that runs code when it is read.
    """
    directory = asset.directory
    paths = sorted(
        path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()
    )
    if faults := code_faults(paths):
        raise broken(asset, faults[0])
    file = weights_path(paths)
    if file is None:
        raise broken(asset, "does not hold one .safetensors file")
    try:
        shapes = tensor_shapes(directory / file)
    except (OSError, ValueError) as error:
        raise broken(asset, f"{file} {error}") from None
    found = kind_of_tensors(shapes)
    if found != kind:
        what = KIND_IN_WORDS[found] if found else "something unknown"
        raise EngineFailure(
            "unsupported-request", f"{asset.name!r} is {what}, not {KIND_IN_WORDS[kind]}"
        )
    return Weights(directory / file, shapes)


def broken(asset: Asset, why: str) -> EngineFailure:
    """Return the failure of an asset whose files are to blame."""
    return EngineFailure("model-invalid", f"{asset.name!r}: {why}")


def misfit(asset: Asset, why: str) -> EngineFailure:
    """Return the failure of an asset that was made for another kind of model."""
    return EngineFailure("unsupported-request", f"{asset.name!r} does not fit this model: {why}")
