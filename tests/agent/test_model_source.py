"""What the model bucket may hold, and what is said of the rest."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from cdk_stable_diffusion.contract.keys import model_manifest_key, model_prefix
from cdk_stable_diffusion.runtime_image.agent import model_source
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.model_cache import ModelCache
from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource
from tests.agent.scene import Scene, make_manifest

_GOOD = json.loads(make_manifest().to_json())


def _with_files(*paths: str) -> dict[str, Any]:
    files = [{"path": path, "size": 1, "sha256": "0" * 64} for path in paths]
    return {**_GOOD, "files": files}


@pytest.fixture
def source(scene: Scene) -> ModelSource:
    return ModelSource(scene.s3, scene.model_bucket)


def test_a_manifest_and_its_files_are_read(scene: Scene, source: ModelSource) -> None:
    scene.publish_model()
    manifest = source.manifest("shapes")
    assert manifest == make_manifest()
    weights = manifest.files[1]
    assert b"".join(source.read("shapes", weights)) == b"weights" * 1000


@pytest.mark.parametrize("size", [0, 1, 1000, 1001, 20_500])
def test_a_file_is_read_whole_and_in_order(
    scene: Scene, source: ModelSource, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(model_source, "_RANGE_BYTES", 1000)
    data = random.Random(size).randbytes(size)
    scene.publish_model("large", {"model_index.json": b"{}", "x.safetensors": data})
    file = source.manifest("large").files[1]
    assert b"".join(source.read("large", file)) == data


def test_a_file_that_is_too_short_or_too_long_is_not_taken_for_whole(
    scene: Scene, source: ModelSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_source, "_RANGE_BYTES", 1000)
    scene.publish_model("cut", {"model_index.json": b"{}", "x.safetensors": b"x" * 5000})
    key = model_prefix("cut") + "x.safetensors"
    cache = ModelCache(source, directory=scene.directory / "cache", max_bytes=10_000)
    for wrong in (b"x" * 1500, b"x" * 4999, b""):
        scene.s3.put_object(Bucket=scene.model_bucket, Key=key, Body=wrong)
        with pytest.raises(TaskFailure, match=rf"x\.safetensors has {len(wrong)} bytes"):
            cache.open("cut")
    scene.s3.put_object(Bucket=scene.model_bucket, Key=key, Body=b"x" * 5000)
    cache.open("cut").close()


def test_a_manifest_is_read_once_for_many_tasks(scene: Scene, source: ModelSource) -> None:
    scene.publish_model()
    first = source.manifest("shapes")
    scene.s3.delete_object(Bucket=scene.model_bucket, Key=model_manifest_key("shapes"))
    assert source.manifest("shapes") is first


def test_a_model_that_comes_later_is_found(scene: Scene, source: ModelSource) -> None:
    with pytest.raises(TaskFailure, match=r"models/shapes/model\.json is not there") as caught:
        source.manifest("shapes")
    assert (caught.value.code, caught.value.transient) == ("model-not-found", False)
    scene.publish_model()
    assert source.manifest("shapes").name == "shapes"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("no JSON", "is not JSON"),
        ({**_GOOD, "version": "2"}, "/version"),
        ({**_GOOD, "files": None}, "/files: is missing"),
        (_with_files("../../etc/passwd"), "relative path"),
        (_with_files("/etc/passwd"), "relative path"),
        (_with_files("model_index.json", "unet/.complete"), "relative path"),
        (_with_files("unet/weights.safetensors"), "there is no model_index"),
        (_with_files("model_index.json", "unet/weights.bin"), r"weights\.bin is refused"),
        (_with_files("model_index.json", "v1.CKPT"), r"v1\.CKPT is refused"),
        (_with_files("model_index.json", "unet/code.py"), r"code\.py is refused"),
        (_with_files("model_index.json", "a", "a"), "twice"),
        (_with_files("model_index.json", "a", "a/b"), "both a file and a folder"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused_with_the_reason(
    scene: Scene, source: ModelSource, document: Any, reason: str
) -> None:
    text = document if isinstance(document, str) else json.dumps(document)
    scene.s3.put_object(Bucket=scene.model_bucket, Key=model_manifest_key("bad"), Body=text)
    with pytest.raises(TaskFailure, match=reason) as caught:
        source.manifest("bad")
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)


def test_a_file_that_is_not_there_is_named(scene: Scene, source: ModelSource) -> None:
    scene.publish_model()
    manifest = source.manifest("shapes")
    key = model_prefix("shapes") + manifest.files[1].path
    scene.s3.delete_object(Bucket=scene.model_bucket, Key=key)
    with pytest.raises(
        TaskFailure, match=r"unet/weights\.safetensors is in the manifest"
    ) as caught:
        list(source.read("shapes", manifest.files[1]))
    assert caught.value.code == "model-invalid"
