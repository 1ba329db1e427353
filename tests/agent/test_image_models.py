"""Models that the image carries: used from there, never copied, and refused if they are broken."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.contract import ModelManifest
from cdk_stable_diffusion.contract.keys import MODEL_MANIFEST_NAME, model_manifest_key
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.image_models import ImageModels
from cdk_stable_diffusion.runtime_image.agent.model_cache import ModelCache
from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource
from cdk_stable_diffusion.runtime_image.agent.models import Models
from cdk_stable_diffusion.runtime_image.agent.write_manifests import write_manifests
from tests.agent.scene import FILES, MODEL, Scene, make_manifest

OTHER = {**FILES, "unet/weights.safetensors": b"other weights"}


def carry(directory: Path, name: str = MODEL, files: dict[str, bytes] = FILES) -> Path:
    """Put a model where an image would have it."""
    for path, data in files.items():
        file = directory / name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    (directory / name / MODEL_MANIFEST_NAME).write_text(make_manifest(name, files).to_json())
    return directory / name


class NoBucket:
    """A client of a bucket that must not be asked."""

    def __getattr__(self, operation: str) -> Any:
        raise AssertionError(f"S3 is asked: {operation}")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Return the folder of the image's models."""
    directory = tmp_path / "image"
    directory.mkdir()
    return directory


@pytest.fixture
def open_models(scene: Scene, image: Path) -> Callable[..., Models]:
    """Make a runtime's models, on the emulated bucket or one that must not be asked."""

    def make(runtime_class: str, *, bucket: bool = True) -> Models:
        return Models(
            runtime_class=runtime_class,
            image=ImageModels(str(image)),
            source=ModelSource(scene.s3 if bucket else NoBucket(), scene.model_bucket),
            cache=lambda source: ModelCache(
                source, directory=scene.directory / "cache", max_bytes=1_000_000
            ),
        )

    return make


OpenModels = Callable[..., Models]


def test_a_static_runtime_uses_the_images_model_without_s3_and_without_a_cache(
    scene: Scene, image: Path, open_models: OpenModels
) -> None:
    path = carry(image)
    model = open_models("static", bucket=False).open(MODEL)
    assert model.directory.path == path
    assert (model.directory.name, model.directory.digest) == (MODEL, make_manifest().digest)
    assert model.defaults.steps == 8
    model.close()
    assert path.is_dir()
    assert not (scene.directory / "cache").exists()


def test_in_a_static_runtime_the_image_wins_over_the_bucket(
    scene: Scene, image: Path, open_models: OpenModels
) -> None:
    scene.publish_model(files=OTHER)
    path = carry(image)
    assert open_models("static").open(MODEL).directory.path == path


def test_in_a_dynamic_runtime_the_bucket_wins_over_the_image(
    scene: Scene, image: Path, open_models: OpenModels
) -> None:
    carry(image)
    scene.publish_model(files=OTHER)
    model = open_models("dynamic").open(MODEL)
    weights = model.directory.path / "unet" / "weights.safetensors"
    assert weights.read_bytes() == b"other weights"
    assert model.directory.path.is_relative_to(scene.directory / "cache")
    model.close()


def test_in_a_dynamic_runtime_the_same_weights_are_not_downloaded(
    scene: Scene, image: Path, open_models: OpenModels
) -> None:
    path = carry(image)
    scene.publish_model()
    assert open_models("dynamic").open(MODEL).directory.path == path
    assert not (scene.directory / "cache").exists()


def test_in_a_dynamic_runtime_a_model_that_is_not_in_the_bucket_is_not_found(
    image: Path, open_models: OpenModels
) -> None:
    carry(image)
    with pytest.raises(TaskFailure, match="is not there") as caught:
        open_models("dynamic").open(MODEL)
    assert caught.value.code == "model-not-found"


def test_new_defaults_in_the_bucket_count_in_a_dynamic_runtime(
    scene: Scene, image: Path, open_models: OpenModels
) -> None:
    carry(image)
    scene.publish_model()
    changed = json.loads(make_manifest().to_json())
    changed["defaults"]["steps"] = 30
    scene.s3.put_object(
        Bucket=scene.model_bucket, Key=model_manifest_key(MODEL), Body=json.dumps(changed)
    )
    model = open_models("dynamic").open(MODEL)
    assert model.defaults.steps == 30
    model.close()


@pytest.mark.parametrize("runtime_class", ["static", "dynamic"])
def test_what_the_image_does_not_carry_comes_from_the_bucket(
    scene: Scene, image: Path, open_models: OpenModels, runtime_class: str
) -> None:
    carry(image, "another")
    scene.publish_model()
    model = open_models(runtime_class).open(MODEL)
    assert model.directory.path.is_relative_to(scene.directory / "cache")
    model.close()


def test_an_image_without_models_is_no_fault(tmp_path: Path) -> None:
    assert ImageModels("").find(MODEL) is None
    assert ImageModels(str(tmp_path / "no such folder")).find(MODEL) is None


def test_a_model_is_read_once_since_an_image_does_not_change(image: Path) -> None:
    path = carry(image)
    models = ImageModels(str(image))
    found = models.find(MODEL)
    (path / MODEL_MANIFEST_NAME).unlink()
    assert models.find(MODEL) is found is not None


def _cut(path: Path) -> None:
    (path / "unet" / "weights.safetensors").write_bytes(b"short")


_SPOILERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (
        lambda path: (path / MODEL_MANIFEST_NAME).unlink(),
        r"shapes/model\.json in the image cannot be read: No such file",
    ),
    "not JSON": (
        lambda path: (path / MODEL_MANIFEST_NAME).write_text("{"),
        r"shapes/model\.json in the image: .*not JSON",
    ),
    "not UTF-8": (
        lambda path: (path / MODEL_MANIFEST_NAME).write_bytes(b"\xff"),
        r"shapes/model\.json in the image: ",
    ),
    "too large": (
        lambda path: (path / MODEL_MANIFEST_NAME).write_bytes(b" " * (5 << 20)),
        r"shapes/model\.json in the image: is too large",
    ),
    "code": (
        lambda path: (path / MODEL_MANIFEST_NAME).write_text(
            make_manifest(files={**FILES, "unet/weights.bin": b""}).to_json()
        ),
        r"unet/weights\.bin is refused",
    ),
    "a file is missing": (
        lambda path: (path / "unet" / "weights.safetensors").unlink(),
        r"unet/weights\.safetensors in the image is not there, but 7000 bytes in the manifest",
    ),
    "a file is cut off": (
        _cut,
        r"unet/weights\.safetensors in the image has 5 bytes, but 7000 bytes in the manifest",
    ),
}


@pytest.mark.parametrize("spoiler", _SPOILERS)
@pytest.mark.parametrize("runtime_class", ["static", "dynamic"])
def test_a_broken_model_in_the_image_fails_for_good_with_the_reason(
    scene: Scene, image: Path, open_models: OpenModels, spoiler: str, runtime_class: str
) -> None:
    scene.publish_model()
    spoil, reason = _SPOILERS[spoiler]
    spoil(carry(image))
    with pytest.raises(TaskFailure, match=reason) as caught:
        open_models(runtime_class).open(MODEL)
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)


def test_the_build_writes_manifests_that_the_agent_reads(image: Path) -> None:
    for name, files in ((MODEL, FILES), ("other", OTHER)):
        path = carry(image, name, files)
        (path / MODEL_MANIFEST_NAME).write_text("one from elsewhere")
        (path / MODEL_MANIFEST_NAME).chmod(0o400)
    before = os.umask(0o077)
    try:
        written = write_manifests(image)
    finally:
        os.umask(before)
    assert [manifest.name for manifest in written] == ["other", MODEL]
    models = ImageModels(str(image))
    for name, files in ((MODEL, FILES), ("other", OTHER)):
        found = models.find(name)
        assert found is not None
        assert found.manifest.digest == make_manifest(name, files).digest
        mode = (image / name / MODEL_MANIFEST_NAME).stat().st_mode
        assert stat.S_IMODE(mode) == 0o444


def _build(directory: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SD_")}
    if directory is not None:
        environment["SD_IMAGE_MODELS_DIRECTORY"] = str(directory)
    return subprocess.run(
        [sys.executable, "-m", "cdk_stable_diffusion.runtime_image.agent.write_manifests"],
        env={**environment, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_builds_step_says_what_it_wrote(image: Path) -> None:
    carry(image)
    ended = _build(image)
    assert ended.returncode == 0, ended.stderr
    manifest = ModelManifest.from_json((image / MODEL / MODEL_MANIFEST_NAME).read_text())
    assert f"{MODEL}: {manifest.size} bytes, digest {manifest.digest}" in ended.stdout


def test_the_build_fails_with_every_fault_and_writes_nothing(image: Path) -> None:
    carry(image, "good")
    (image / "good" / MODEL_MANIFEST_NAME).unlink()
    (carry(image, "code") / "unet" / "weights.pkl").write_bytes(b"")
    (image / "empty").mkdir()
    ended = _build(image)
    assert ended.returncode == 1
    assert "unet/weights.pkl is refused" in ended.stderr
    assert "has no model_index.json" in ended.stderr
    assert not (image / "good" / MODEL_MANIFEST_NAME).exists()


def test_the_build_fails_without_models(image: Path) -> None:
    for directory, reason in (
        (None, "SD_IMAGE_MODELS_DIRECTORY is missing"),
        (image, "holds no model's directory"),
        (image / "nowhere", "No such file"),
    ):
        ended = _build(directory)
        assert ended.returncode == 1
        assert reason in ended.stderr
