"""Models that travel in the container image, each as a layer of its own.

The Dockerfile of the package knows no models: for those that are given, lines are added to a copy
of it, and Docker gets each directory as a named build context. Nothing is copied to the assembly,
so a model must still lie where it was when `cdk deploy` builds the image.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import FileSystem

from .._validation import Faults, is_token, shown
from ..contract.limits import MAX_MODEL_NAME_CHARACTERS
from ..contract.model import InvalidModel, check_directory
from ..contract.names import MODEL_NAME_SAYS, is_model_name

IMAGE_MODELS_DIRECTORY = "/opt/models"
"""Where they lie in the image; its Dockerfile tells the agent by SD_IMAGE_MODELS_DIRECTORY."""

_USER = "10001:10001"
_WRITE_MANIFESTS = "cdk_stable_diffusion.runtime_image.agent.write_manifests"
_A_MAPPING = "directories by the models' names, such as {'sdxl': 'models/sdxl'}"


@dataclass(frozen=True, slots=True)
class ImageModel:
    """A model that travels in the image.

    Attributes:
        name: Its name, as in requests.
        directory: A directory as diffusers' ``save_pretrained`` writes it, or with one checkpoint.
    """

    name: str
    directory: Path

    @property
    def size(self) -> int:
        """Bytes of its files now."""
        return sum(path.stat().st_size for path in self.directory.rglob("*") if path.is_file())


def image_models(where: str, models: Mapping[str, str | Path] | None) -> tuple[ImageModel, ...]:
    """Check models and return them, sorted by name.

    Args:
        where: What they were given to, for the error.
        models: Their directories by name.

    Raises:
        ValueError: With everything that is wrong with any of them.
    """
    faults = Faults()
    checked = []
    if faults.check_type("models", models, Mapping, _A_MAPPING, optional=True):
        for name, directory in (models or {}).items():
            for fault in _faults(name, directory):
                faults.check(False, f"models[{shown(name)}]: {fault}")
            checked.append((name, directory))
    faults.raise_if_any(where)
    return tuple(ImageModel(name, Path(directory).resolve()) for name, directory in sorted(checked))


def _faults(name: object, directory: object) -> Iterator[str]:
    if not isinstance(name, str) or is_token(name) or not is_model_name(name):
        yield f"no model's name: 1 to {MAX_MODEL_NAME_CHARACTERS} {MODEL_NAME_SAYS}"
    if not isinstance(directory, (str, Path)) or is_token(directory):
        yield f"is {shown(directory)}: the path of a directory"
        return
    path = Path(directory)
    if not path.is_dir():
        yield f"is {str(directory)!r}: an existing directory"
        return
    try:
        # The name is checked above, with its own words.
        check_directory(path, "model")
    except InvalidModel as error:
        yield from (fault.detail for fault in error.faults)
    for each in sorted(path.rglob("*")):
        if each.is_symlink():
            yield (
                f"holds the symbolic link {each.relative_to(path).as_posix()}, which Docker does "
                "not follow: give a copy of the directory made with 'cp -rL'"
            )


def build_contexts(models: Sequence[ImageModel]) -> dict[str, str]:
    """Return Docker's named build contexts: a model's directory under the name of its place.

    Args:
        models: The models.
    """
    return {_context(place): str(model.directory) for place, model in enumerate(models)}


def models_hash(models: Sequence[ImageModel]) -> str:
    """Return what changes with any name or byte of the models, and is the same on every machine.

    The CDK remembers the hashes of files from one synthesis to the next, by inode, time of change
    and size, so that gigabytes are read only once.

    Args:
        models: The models.
    """
    return json.dumps(
        {model.name: FileSystem.fingerprint(str(model.directory)) for model in models}
    )


def dockerfile_with_models(dockerfile: str, models: Sequence[ImageModel]) -> str:
    """Return a Dockerfile whose image carries models.

    Args:
        dockerfile: The Dockerfile of the image without them.
        models: The models.
    """
    lines = [
        "",
        "# Models that travel in the image, each a layer that stays the same while others change.",
        "# Every builder knows numeric modes; a file of numbers that is executable does no harm.",
        "USER 0:0",
        *(
            f"COPY --link --chmod=0555 --from={_context(place)} / "
            f"{IMAGE_MODELS_DIRECTORY}/{model.name}/"
            for place, model in enumerate(models)
        ),
        f'RUN ["python", "-m", "{_WRITE_MANIFESTS}"]',
        f"USER {_USER}",
        "",
    ]
    return dockerfile + "\n".join(lines)


def directory_with_models(
    package: Path,
    *,
    shipped: Sequence[str],
    dockerfile: str,
    models: Sequence[ImageModel],
    kept: bool,
) -> Path:
    """Copy what the image is built from to a temporary directory, with the models' lines added.

    Args:
        package: Directory of this package.
        shipped: Files and directories in it to copy.
        dockerfile: The Dockerfile, from the package's directory.
        models: The models.
        kept: Whether the copy outlives this process.
    """
    directory = Path(tempfile.mkdtemp(prefix="cdk-stable-diffusion-"))
    if not kept:
        atexit.register(shutil.rmtree, directory, ignore_errors=True)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    for name in shipped:
        source = package / name
        if source.is_dir():
            shutil.copytree(source, directory / name, ignore=ignored)
        else:
            shutil.copy(source, directory / name)
    text = (package / dockerfile).read_text("utf-8")
    (directory / dockerfile).write_text(dockerfile_with_models(text, models), "utf-8")
    return directory


def _context(place: int) -> str:
    # Docker allows less in a context's name than there may be in a model's.
    return f"model-{place}"
