"""Reading a model's manifest, wherever it lies."""

from __future__ import annotations

from ...contract import InvalidModel, ModelManifest
from ...contract.model import NO_MODEL, code_faults, is_model
from ...contract.model_kind import KIND_IN_WORDS, PIPELINE, weights_path
from .failure import TaskFailure

MAX_MANIFEST_BYTES = 4 << 20


def read_manifest(data: bytes, *, model: str, place: str) -> ModelManifest:
    """Return a model's manifest.

    Args:
        data: The manifest's file, or its first `MAX_MANIFEST_BYTES` + 1 bytes.
        model: The model's name.
        place: Where it lies, for the error.

    Raises:
        TaskFailure: If it is one that cannot be used.
    """
    try:
        if len(data) > MAX_MANIFEST_BYTES:
            raise ValueError("is too large")
        manifest = ModelManifest.from_json(data.decode("utf-8"))
    except (InvalidModel, ValueError, TypeError) as error:
        raise TaskFailure("model-invalid", f"model {model!r}: {place}: {error}") from None
    _check(manifest, model)
    return manifest


def check_kind(manifest: ModelManifest, kind: str) -> None:
    """Check that something is what it is to be used as.

    Args:
        manifest: Its manifest.
        kind: What it must be; one of `contract.model_kind.MODEL_KINDS`.

    Raises:
        TaskFailure: If it is something else.
    """
    if manifest.kind != kind:
        raise TaskFailure(
            "unsupported-request",
            f"{manifest.name!r} is {KIND_IN_WORDS[manifest.kind]}, not {KIND_IN_WORDS[kind]}",
        )


def _check(manifest: ModelManifest, model: str) -> None:
    paths = [file.path for file in manifest.files]
    faults = code_faults(paths)
    folders = {path[:index] for path in paths for index, each in enumerate(path) if each == "/"}
    faults += [f"{path} is both a file and a folder" for path in paths if path in folders]
    if len(set(paths)) < len(paths):
        faults.append("a path occurs twice")
    if manifest.kind != PIPELINE and weights_path(paths) is None:
        faults.append(f"is {KIND_IN_WORDS[manifest.kind]} without one .safetensors file")
    elif not is_model(paths):
        faults.append(f"there is {NO_MODEL}")
    if faults:
        raise TaskFailure("model-invalid", f"model {model!r}: {'; '.join(faults)}")
