"""Models that the container's image carries.

    <directory>/<name>/               a model's directory, or that of what is added to one
    <directory>/<name>/model.json     its manifest, from `write_manifests`

They are read, never changed or removed. No file is hashed: the image's digest, by which the node
pulled it, covers every one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from ...contract import ModelManifest
from ...contract.keys import MODEL_MANIFEST_NAME
from .engine import ModelDirectory
from .failure import TaskFailure
from .manifest import MAX_MANIFEST_BYTES, read_manifest
from .model_in_use import ModelInUse

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageModel:
    """A model that the image carries.

    Attributes:
        name: Its name.
        manifest: Its manifest.
        path: Its directory.
    """

    name: str
    manifest: ModelManifest
    path: Path

    def use(self) -> ModelInUse:
        """Return it as a model in use. Nothing removes it, so there is nothing to lock."""
        return ModelInUse(
            directory=ModelDirectory(name=self.name, digest=self.manifest.digest, path=self.path),
            defaults=self.manifest.defaults,
        )


class ImageModels:
    """Finds the models that the image carries."""

    def __init__(self, directory: str) -> None:
        """Look nowhere yet.

        Args:
            directory: Where they lie; empty if the image carries none.
        """
        self._directory = Path(directory) if directory else None
        self._known: dict[str, ImageModel] = {}

    def find(self, name: str) -> ImageModel | None:
        """Return a model, or None if the image does not carry it.

        Args:
            name: The model's name.

        Raises:
            TaskFailure: If it is there, but its manifest is missing, or is one that cannot be
                used, or names other files.
        """
        if self._directory is None:
            return None
        if name not in self._known:
            path = self._directory / name
            if not path.is_dir():
                return None
            self._known[name] = _read(name, path)
        return self._known[name]


def _read(name: str, path: Path) -> ImageModel:
    file = path / MODEL_MANIFEST_NAME
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise TaskFailure(
            "model-invalid",
            f"model {name!r}: {file} in the image cannot be read: {error.strerror}",
        ) from None
    manifest = read_manifest(data, model=name, place=f"{file} in the image")
    for each in manifest.files:
        size = _size(path / each.path)
        if size != each.size:
            is_there = "is not there" if size is None else f"has {size} bytes"
            raise TaskFailure(
                "model-invalid",
                f"model {name!r}: {path / each.path} in the image {is_there}, but {each.size} "
                "bytes in the manifest",
            )
    _LOG.info("found in the image", extra={"model": name, "bytes": manifest.size})
    return ImageModel(name=name, manifest=manifest, path=path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
