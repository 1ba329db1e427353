"""The manifest of a model: what its directory holds, and what a plain prompt runs with.

It lies beside the files as ``models/<name>/model.json`` and is written last, so that a model that
has a manifest is whole.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from . import limits, strict_json
from .fault import Fault, InvalidDocument
from .fields import Choice, Field, Integer, ObjectField, Text, object_faults
from .keys import MODEL_MANIFEST_NAME
from .message import VERSION_FIELD
from .model_kind import MODEL_KINDS, PIPELINE, WEIGHTS_SUFFIX, kind_of_directory
from .result import SHA256_FIELD
from .task import MODEL_DECIDES, MODEL_FIELD, PICTURE_DECIDES, TASK_FIELDS
from .version import CONTRACT_VERSION
from .workflow import WORKFLOW_NAME, InvalidWorkflow, Workflow

DEFAULTS_NAME = "generation_defaults.json"
"""File in a model's directory that holds its generation defaults."""

_CODE_SUFFIXES = (".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth", ".py", ".so")

_PICKLES = (b"PK\x03\x04", b"\x80")
"""How torch's files begin: an archive of pickles, or a pickle."""

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]*"
_PATH_PATTERN = rf"{_PART}(?:/{_PART})*"

DEFAULT_NAMES = ("steps", "guidance_scale", "width", "height", "scheduler", "clip_skip")
"""The fields of a request for which a model can have values of its own."""

_LATER_DEFAULTS = frozenset({"clip_skip"})

DEFAULT_FIELDS: tuple[Field, ...] = tuple(
    replace(
        each,
        description=each.description.removesuffix(MODEL_DECIDES).removesuffix(PICTURE_DECIDES),
    )
    for each in TASK_FIELDS
    if each.name in DEFAULT_NAMES
)

FILE_FIELDS: tuple[Field, ...] = (
    Text(
        "path",
        "Path inside the model's directory.",
        required=True,
        min_length=1,
        max_length=512,
        pattern=_PATH_PATTERN,
        pattern_says="a relative path of plain names that do not start with a dot",
    ),
    Integer("size", "Size in bytes.", required=True),
    SHA256_FIELD,
)

MANIFEST_FIELDS: tuple[Field, ...] = (
    VERSION_FIELD,
    Text(
        "name",
        "The model's name.",
        required=True,
        min_length=1,
        max_length=limits.MAX_MODEL_NAME_CHARACTERS,
        pattern=MODEL_FIELD.pattern,
        pattern_says=MODEL_FIELD.pattern_says,
    ),
    ObjectField(
        "defaults",
        "What a request runs with where it says nothing.",
        required=True,
        fields=DEFAULT_FIELDS,
    ),
    ObjectField("files", "The files.", required=True, fields=FILE_FIELDS, many=True),
    Choice(
        "kind",
        "What it is: a whole pipeline, or something to add to one.",
        default=PIPELINE,
        choices=MODEL_KINDS,
    ),
)


class InvalidModel(InvalidDocument):
    """A model directory or manifest that cannot be used."""


@dataclass(frozen=True)
class GenerationDefaults:
    """What a request runs with where it says nothing; `None` leaves it to the pipeline.

    The fields are described in `DEFAULT_FIELDS`.
    """

    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    scheduler: str | None = None
    clip_skip: int | None = None


@dataclass(frozen=True)
class ModelFile:
    """One file of a model; the fields are described in `FILE_FIELDS`."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True)
class ModelManifest:
    """What a model's directory holds.

    Attributes:
        name: The model's name.
        files: Its files, sorted by path.
        defaults: Its generation defaults.
        version: Version of the contract.
        kind: What it is; one of `MODEL_KINDS`.
    """

    name: str
    files: tuple[ModelFile, ...]
    defaults: GenerationDefaults = field(default_factory=GenerationDefaults)
    version: str = CONTRACT_VERSION
    kind: str = PIPELINE

    @property
    def digest(self) -> str:
        """SHA-256 over all paths and contents: the identity of these weights."""
        lines = "".join(f"{file.sha256} {file.path}\n" for file in self.files)
        return hashlib.sha256(lines.encode("utf-8")).hexdigest()

    @property
    def size(self) -> int:
        """Size of all files in bytes."""
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        """Return the manifest as JSON.

        What came later is left out where it is not used, so that agents of before can read the
        manifests of their models.
        """
        values = {**asdict(self), "files": [asdict(file) for file in self.files]}
        if self.kind == PIPELINE:
            del values["kind"]
        values["defaults"] = {
            name: value
            for name, value in values["defaults"].items()
            if value is not None or name not in _LATER_DEFAULTS
        }
        return strict_json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> ModelManifest:
        """Read a manifest.

        Args:
            text: The file.

        Raises:
            InvalidModel: With every fault; among them paths that would leave the directory.
        """
        value = _checked(text, "model manifest", MANIFEST_FIELDS)
        return cls(
            name=value["name"],
            files=tuple(ModelFile(**file) for file in value["files"]),
            defaults=GenerationDefaults(**value["defaults"]),
            kind=value.get("kind") or PIPELINE,
        )

    @classmethod
    def of_directory(cls, directory: Path, name: str) -> ModelManifest:
        """Make the manifest of a model's directory.

        Args:
            directory: A directory as diffusers' ``save_pretrained`` writes it, one with a single
                checkpoint, or one with a ComfyUI workflow; in each, an optional
                ``generation_defaults.json``. For what is added to a model, a directory with one
                ``.safetensors`` file. One such file alone will do, too.
            name: The model's name.

        Raises:
            InvalidModel: If the directory holds neither a model nor anything that is added to one,
                a file can run code or has a name that the manifest cannot hold, the model's name
                is not allowed, or the defaults are wrong.
        """
        paths, defaults = check_directory(directory, name)
        root = root_of(directory)
        names = [path.relative_to(root).as_posix() for path in paths]
        files = (
            ModelFile(name, path.stat().st_size, file_sha256(path))
            for name, path in zip(names, paths, strict=True)
        )
        return cls(
            name=name,
            files=tuple(files),
            defaults=defaults,
            kind=kind_of_directory(root, names),
        )


def root_of(directory: Path) -> Path:
    """Return what a model's paths are relative to: its directory, or that of its only file."""
    return directory.parent if directory.is_file() else directory


def check_directory(directory: Path, name: str) -> tuple[list[Path], GenerationDefaults]:
    """Check a model's directory, without reading its weights.

    Args:
        directory: As for `ModelManifest.of_directory`.
        name: The model's name.

    Returns:
        Its files, sorted by path, without a manifest that lies there already; and its defaults.

    Raises:
        InvalidModel: As for `ModelManifest.of_directory`.
    """
    root = root_of(directory)
    manifest = root / MODEL_MANIFEST_NAME
    found = [directory] if directory.is_file() else directory.rglob("*")
    paths = sorted(path for path in found if path.is_file() and path != manifest)
    names = [path.relative_to(root).as_posix() for path in paths]
    faults = [Fault("/name", detail) for detail in MODEL_FIELD.faults(name)]
    refused = code_faults(names) + _disguise_faults(root, names)
    faults += [Fault("/files", detail) for detail in refused]
    if not refused and directory.is_file() and directory.suffix.lower() != WEIGHTS_SUFFIX:
        faults.append(
            Fault("", f"{directory.name} is neither a {WEIGHTS_SUFFIX} file nor a directory")
        )
    elif not refused:
        # Whoever brings a pickle alone need not be told that it is no other model, either.
        try:
            kind_of_directory(root, names)
        except ValueError as error:
            faults.append(Fault("", str(error)))
    faults += [
        Fault("/files", f"{each!r} must be a path of plain names")
        for each in names
        if not re.fullmatch(_PATH_PATTERN, each)
    ]
    if faults:
        raise InvalidModel("model directory", faults)
    if WORKFLOW_NAME in names:
        try:
            Workflow.read(root)
        except InvalidWorkflow as error:
            raise InvalidModel("model directory", error.faults) from None
    defaults = GenerationDefaults()
    if DEFAULTS_NAME in names:
        text = (root / DEFAULTS_NAME).read_text("utf-8")
        defaults = GenerationDefaults(**_checked(text, DEFAULTS_NAME, DEFAULT_FIELDS))
    return paths, defaults


def code_faults(paths: Iterable[str]) -> list[str]:
    """Say which files of a model are refused, because reading them can run code of their own.

    Args:
        paths: Paths inside the model's directory.

    Returns:
        One sentence a file.
    """
    return [
        f"{path} is refused: reading it can run code; weights must be .safetensors"
        for path in paths
        if path.lower().endswith(_CODE_SUFFIXES)
    ]


def _disguise_faults(directory: Path, names: Iterable[str]) -> list[str]:
    """Say which .safetensors files are pickles that were given the name."""
    faults = []
    for name in names:
        if name.lower().endswith(WEIGHTS_SUFFIX):
            with (directory / name).open("rb") as file:
                start = file.read(9)
            # Behind the length of its header, a safetensors file has an object.
            if start[8:] != b"{" and start.startswith(_PICKLES):
                faults.append(f"{name} is refused: it is a pickle, which can run code, in disguise")
    return faults


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits, reading it in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _checked(text: str, what: str, fields: tuple[Field, ...]) -> dict[str, Any]:
    try:
        value = strict_json.loads(text)
    except ValueError as error:
        raise InvalidModel(what, [Fault("", str(error))]) from None
    faults = object_faults(value, fields)
    if faults:
        raise InvalidModel(what, faults)
    checked: dict[str, Any] = value
    return checked
