"""Files of a model on their way: in parts, in any order, checked, and nothing else kept."""

from __future__ import annotations

import hashlib
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract import ModelFile
from cdk_stable_diffusion.runtime_image.agent import model_download
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.model_download import download
from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource
from tests.agent.scene import Scene, make_manifest

Read = Callable[[ModelFile, int, int], Iterator[bytes]]


class _Source:
    """A bucket that answers as a test says."""

    def __init__(self, read: Read) -> None:
        self._read = read

    def read_range(self, model: str, file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        return self._read(file, start, end)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_download, "_PART_BYTES", 1000)
    monkeypatch.setattr(model_download, "_CHECKED_AT_ONCE_BYTES", 300)


def _download(read: Read, files: dict[str, bytes], directory: Path) -> None:
    manifest = make_manifest("m", files)
    download(_Source(read), "m", manifest.files, directory)  # type: ignore[arg-type]


def _reading(files: dict[str, bytes]) -> Read:
    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        yield files[file.path][start : start + 400]
        yield files[file.path][start + 400 : end]

    return read


_SIZES = st.lists(st.sampled_from([0, 1, 999, 1000, 1001, 2000, 2500, 30_500]), min_size=1)


@given(sizes=_SIZES, seed=st.integers(0, 1000))
def test_files_of_any_size_arrive_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    directory = tmp_path_factory.mktemp("model")
    chance = random.Random(seed)
    files = {f"part-{number}/x": chance.randbytes(size) for number, size in enumerate(sizes)}
    _download(_reading(files), files, directory)
    assert {name: (directory / name).read_bytes() for name in files} == files


def test_parts_may_come_in_any_order(tmp_path: Path) -> None:
    files = {"x": random.Random(1).randbytes(5000)}
    others = threading.Barrier(5)
    first_may_come = threading.Event()

    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        others.wait(10)
        if start == 0:
            first_may_come.wait(10)
        yield files["x"][start:end]
        if start == 4000:
            first_may_come.set()

    _download(read, files, tmp_path)
    assert (tmp_path / "x").read_bytes() == files["x"]


@pytest.mark.parametrize("wrong", [1, 999, 1000, 4999])
def test_one_wrong_byte_is_noticed_wherever_it_is(tmp_path: Path, wrong: int) -> None:
    files = {"x": bytes(5000), "y": b"y" * 5000}
    reads = []

    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        reads.append(file.path)
        data = bytearray(files[file.path][start:end])
        if file.path == "x" and start <= wrong < end:
            data[wrong - start] = 1
        yield bytes(data)

    with pytest.raises(TaskFailure, match=r"x has SHA-256") as caught:
        _download(read, files, tmp_path)
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    # What was right is not brought again.
    assert (reads.count("x"), reads.count("y")) == (10, 5)


def test_what_is_checked_is_what_the_disk_gives_back(tmp_path: Path) -> None:
    files = {"x": b"x" * 3000}

    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        yield files["x"][start:end]
        with (tmp_path / "x").open("r+b") as written:
            written.seek(start)
            written.write(b"?")

    with pytest.raises(TaskFailure, match=r"x has SHA-256"):
        _download(read, files, tmp_path)


def test_a_server_that_ignores_ranges_is_noticed(tmp_path: Path) -> None:
    files = {"x": random.Random(1).randbytes(3000)}

    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        yield files["x"][: end - start]

    with pytest.raises(TaskFailure, match=r"x has SHA-256"):
        _download(read, files, tmp_path)


@pytest.mark.parametrize("size", [1500, 2999, 0])
def test_a_file_that_is_too_short_is_not_taken_for_whole(tmp_path: Path, size: int) -> None:
    files = {"x": b"x" * 3000}
    short = {"x": b"x" * size}
    with pytest.raises(TaskFailure, match=f"x has {size} bytes instead of 3000"):
        _download(_reading(short), files, tmp_path)


def test_an_error_ends_all_that_is_under_way(tmp_path: Path) -> None:
    files = {"x": b"x" * 100_000, "y": b"y" * 3000}
    begun = threading.Barrier(2)
    reads = []

    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        reads.append((file.path, start))
        if (file.path, start) == ("x", 0):
            begun.wait(10)
            raise ConnectionError("S3 is away")
        if (file.path, start) == ("x", 1000):
            begun.wait(10)
        yield files[file.path][start:end]

    before = threading.active_count()
    with pytest.raises(ConnectionError, match="S3 is away"):
        _download(read, files, tmp_path)
    assert threading.active_count() == before


def test_a_full_disk_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, os.strerror(28))

    files = {"x": b"x" * 3000}
    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space left"):
        _download(_reading(files), files, tmp_path)


def test_no_more_files_are_open_than_are_worked_on(tmp_path: Path) -> None:
    files = {f"{number:03}": b"x" for number in range(300)}
    most = 0

    def read(file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        nonlocal most
        most = max(most, len(os.listdir("/proc/self/fd")))
        yield b"x"

    before = len(os.listdir("/proc/self/fd"))
    _download(read, files, tmp_path)
    assert most < before + 60


def test_a_model_comes_out_of_a_bucket_as_it_was_put_in(scene: Scene) -> None:
    files = {"model_index.json": b"{}", "x.safetensors": random.Random(1).randbytes(20_500)}
    scene.publish_model("large", files)
    source = ModelSource(scene.s3, scene.model_bucket)
    manifest = source.manifest("large")
    download(source, "large", manifest.files, scene.directory)
    for name, data in files.items():
        found = hashlib.sha256((scene.directory / name).read_bytes()).hexdigest()
        assert found == hashlib.sha256(data).hexdigest()
