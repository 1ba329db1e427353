"""What the model bucket may hold, and what is said of the rest."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError

from cdk_stable_diffusion.contract import ModelFile
from cdk_stable_diffusion.contract.keys import model_manifest_key, model_prefix
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
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
    assert b"".join(source.read_range("shapes", weights, 0, 7000)) == b"weights" * 1000
    assert b"".join(source.read_range("shapes", weights, 7, 10)) == b"wei"
    assert b"".join(source.read_range("shapes", weights, 6990, 8000)) == b"ghtsweights"[-10:]
    assert not list(source.read_range("shapes", weights, 7000, 8000))


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
        list(source.read_range("shapes", manifest.files[1], 0, 7000))
    assert caught.value.code == "model-invalid"


class _Breaking:
    """An S3 client whose connections break after so many bytes each."""

    def __init__(self, data: bytes, *pieces: int) -> None:
        self._data = data
        self._pieces = list(pieces)
        self.ranges: list[str] = []

    def get_object(self, *, Bucket: str, Key: str, Range: str) -> dict[str, Any]:
        self.ranges.append(Range)
        start, end = map(int, Range.removeprefix("bytes=").split("-"))
        return {"Body": _Body(self._data[start : end + 1], self._pieces.pop(0))}


class _Body:
    def __init__(self, data: bytes, size: int) -> None:
        self._stream = io.BytesIO(data[:size])
        self._is_cut = size < len(data)

    def read(self, size: int) -> bytes:
        piece = self._stream.read(size)
        if not piece and self._is_cut:
            raise ResponseStreamingError(error="broken")
        return piece

    def close(self) -> None:
        pass


def test_a_connection_that_breaks_is_made_again_and_goes_on_where_it_was() -> None:
    s3 = _Breaking(b"0123456789", 3, 5, 10)
    file = ModelFile("x", 10, "")
    assert b"".join(ModelSource(s3, "models").read_range("m", file, 0, 10)) == b"0123456789"
    assert s3.ranges == ["bytes=0-9", "bytes=3-9", "bytes=8-9"]


def test_a_connection_that_brings_nothing_is_not_made_again() -> None:
    s3 = _Breaking(b"0123456789", 3, 0)
    with pytest.raises(ResponseStreamingError):
        list(ModelSource(s3, "models").read_range("m", ModelFile("x", 10, ""), 0, 10))
    assert s3.ranges == ["bytes=0-9", "bytes=3-9"]
