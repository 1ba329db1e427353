"""Put models into a model bucket: the files, then the manifest that makes them whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..contract import ModelManifest
from ..contract.keys import model_manifest_key, model_prefix
from ..contract.model import root_of
from ..contract.model_kind import KIND_IN_WORDS
from .errors import LocalError

SHIPPED_DIRECTORY = Path(__file__).resolve().parent / "models"
SHIPPED_MODEL = "tiny-shapes"
SHIPPED: Mapping[str, str] = {SHIPPED_MODEL: SHIPPED_MODEL, "tiny-shapes-copy": SHIPPED_MODEL}
"""Models that every local service has, with the shipped directory that each is made from."""

_UNKNOWN = frozenset({"NoSuchKey", "404", "AccessDenied", "403"})


def publish_model(
    directory: Path,
    bucket: str,
    s3: Any,
    *,
    name: str | None = None,
    progress: Callable[[str, int], None] = lambda path, size: None,
) -> ModelManifest:
    """Upload a model, or what is added to one.

    The manifest goes last: a runtime takes a model for whole once it has one.

    Args:
        directory: As for `ModelManifest.of_directory`.
        bucket: The model bucket.
        s3: S3 client.
        name: Name of the model. Default: the directory's, or the file's without its suffix.
        progress: Told each file's path and size once it is uploaded. Default: nobody is told.

    Returns:
        The manifest.

    Raises:
        InvalidModel: If there is none.
        LocalError: If something of another kind has the name.
    """
    directory = directory.resolve()
    manifest = ModelManifest.of_directory(directory, name or default_name(directory))
    _check_place(manifest, bucket, s3)
    root = root_of(directory)
    for file in manifest.files:
        s3.upload_file(str(root / file.path), bucket, model_prefix(manifest.name) + file.path)
        progress(file.path, file.size)
    s3.put_object(
        Bucket=bucket,
        Key=model_manifest_key(manifest.name),
        Body=manifest.to_json().encode("utf-8"),
        ContentType="application/json",
    )
    return manifest


def _check_place(manifest: ModelManifest, bucket: str, s3: Any) -> None:
    """Check that a name is free, or that of an earlier version.

    An adapter in the place of a model would fail every task of that model.
    """
    from botocore.exceptions import ClientError

    key = model_manifest_key(manifest.name)
    try:
        with closing(s3.get_object(Bucket=bucket, Key=key)["Body"]) as body:
            there = ModelManifest.from_json(body.read().decode("utf-8"))
    except ClientError as error:
        # Who publishes need not be allowed to read.
        if error.response["Error"]["Code"] in _UNKNOWN:
            return
        raise
    except ValueError:
        return  # Nothing can be made of it, so that anything is better.
    if there.kind != manifest.kind:
        raise LocalError(
            f"{manifest.name!r} in s3://{bucket} is {KIND_IN_WORDS[there.kind]}, and this is "
            f"{KIND_IN_WORDS[manifest.kind]}: choose another name, or remove {key} first"
        )


def default_name(directory: Path) -> str:
    """Return what a model is called unless somebody says otherwise."""
    directory = directory.resolve()
    return directory.stem if directory.is_file() else directory.name


def parse_model_options(options: Iterable[str]) -> dict[str, Path]:
    """Read options of the form ``NAME=DIRECTORY``.

    The directory may also be a file that is added to a model, or a shipped model's name.

    Args:
        options: The options.

    Raises:
        LocalError: Naming every option that is wrong.
    """
    directories: dict[str, Path] = {}
    faults = []
    for option in options:
        name, equals, text = option.partition("=")
        directory = Path(text).expanduser()
        if not directory.exists() and text in SHIPPED:
            directory = SHIPPED_DIRECTORY / SHIPPED[text]
        if not (name and equals and text):
            faults.append(f"--model {option}: must be NAME=DIRECTORY")
        elif not directory.exists():
            faults.append(f"--model {option}: {directory} is not there")
        else:
            directories[name] = directory
    if faults:
        raise LocalError("\n".join(faults))
    return directories


def model_directories(wanted: Iterable[str], given: Mapping[str, Path]) -> dict[str, Path]:
    """Return where each model comes from: the shipped ones, and those that the user gives.

    Args:
        wanted: The models that static runtimes preload.
        given: Directories that the user names, by model.

    Raises:
        LocalError: If a wanted model is nowhere.
    """
    directories = {name: SHIPPED_DIRECTORY / each for name, each in SHIPPED.items()}
    directories.update(given)
    if missing := sorted(set(wanted) - set(directories)):
        raise LocalError(
            f"the app's static runtimes preload {', '.join(missing)}, which only you have: add "
            + " ".join(f"--model {name}=DIRECTORY" for name in missing)
            + f" (a model's directory, or {SHIPPED_MODEL} to let the shipped model stand in)"
        )
    return directories
