"""Models on disk: whole or absent, checked, shared, evicted."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdk_stable_diffusion.contract import ModelFile, ModelManifest
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.model_cache import ModelCache
from tests.agent.scene import make_manifest


class FakeSource:
    """A model bucket in memory."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, bytes]] = {}
        self.reads: Counter[str] = Counter()
        self.spoil: dict[str, list[bytes]] = {}
        self.before_read: Callable[[], None] = lambda: None

    def add(self, name: str, size: int = 100) -> None:
        self.models[name] = {"model_index.json": b"{}", f"{name}.safetensors": b"x" * (size - 2)}

    def manifest(self, model: str) -> ModelManifest:
        return make_manifest(model, self.models[model])

    def read(self, model: str, file: ModelFile) -> Iterator[bytes]:
        self.before_read()
        self.reads[f"{model}/{file.path}"] += 1
        spoiled = self.spoil.get(file.path)
        data = spoiled.pop(0) if spoiled else self.models[model][file.path]
        yield data[:10]
        yield data[10:]


@pytest.fixture
def source() -> FakeSource:
    source = FakeSource()
    for name in ("a", "b", "c"):
        source.add(name)
    return source


def _cache(source: FakeSource, directory: Path, max_bytes: int = 250) -> ModelCache:
    return ModelCache(source, directory=directory, max_bytes=max_bytes)  # type: ignore[arg-type]


def test_a_model_is_downloaded_once_for_all_agents(source: FakeSource, tmp_path: Path) -> None:
    source.before_read = lambda: time.sleep(0.05)
    found = []

    def use() -> None:
        found.append(_cache(source, tmp_path).open("a"))

    agents = [threading.Thread(target=use) for _ in range(4)]
    for agent in agents:
        agent.start()
    for agent in agents:
        agent.join()
    assert source.reads == {"a/a.safetensors": 1, "a/model_index.json": 1}
    path = found[0].directory.path
    assert (path / "a.safetensors").read_bytes() == b"x" * 98
    assert found[0].defaults.steps == 8
    for model in found:
        model.close()


@pytest.mark.parametrize("spoiled", [b"x" * 97, b"x" * 99, b"y" * 98, b""])
def test_a_wrong_file_is_fetched_once_more(
    source: FakeSource, tmp_path: Path, spoiled: bytes
) -> None:
    source.spoil["a.safetensors"] = [spoiled]
    model = _cache(source, tmp_path).open("a")
    assert (model.directory.path / "a.safetensors").read_bytes() == b"x" * 98
    assert source.reads["a/a.safetensors"] == 2
    model.close()


def test_a_file_that_stays_wrong_fails_for_good_and_leaves_nothing(
    source: FakeSource, tmp_path: Path
) -> None:
    source.spoil["a.safetensors"] = [b"y" * 98] * 5
    with pytest.raises(TaskFailure, match=r"a\.safetensors has SHA-256") as caught:
        _cache(source, tmp_path).open("a")
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    assert source.reads["a/a.safetensors"] == 2
    assert not list((tmp_path / "models").iterdir())
    assert not list((tmp_path / "incoming").iterdir())


def test_a_file_damaged_on_disk_is_noticed_at_the_next_use(
    source: FakeSource, tmp_path: Path
) -> None:
    cache = _cache(source, tmp_path)
    model = cache.open("a")
    path = model.directory.path / "a.safetensors"
    model.close()
    path.write_bytes(b"short")
    cache.open("a").close()
    assert path.read_bytes() == b"x" * 98


def test_the_model_used_longest_ago_goes_first(source: FakeSource, tmp_path: Path) -> None:
    cache = _cache(source, tmp_path)
    paths = {}
    for moment, name in enumerate(("a", "b", "a")):
        model = cache.open(name)
        paths[name] = model.directory.path
        os.utime(model.directory.path / ".complete", (moment, moment))
        model.close()
    cache.open("c").close()
    assert paths["a"].exists()
    assert not paths["b"].exists()


def test_a_model_in_use_stays(source: FakeSource, tmp_path: Path) -> None:
    cache = _cache(source, tmp_path)
    first, second = cache.open("a"), cache.open("b")
    with pytest.raises(TaskFailure, match="in use") as caught:
        _cache(source, tmp_path).open("c")
    assert caught.value.transient
    assert first.directory.path.exists() and second.directory.path.exists()
    second.close()
    cache.open("c").close()
    assert first.directory.path.exists() and not second.directory.path.exists()
    first.close()


def test_a_model_larger_than_the_cache_is_refused(source: FakeSource, tmp_path: Path) -> None:
    source.add("huge", 300)
    with pytest.raises(TaskFailure, match="300 bytes") as caught:
        _cache(source, tmp_path).open("huge")
    assert not caught.value.transient
    assert not source.reads


def test_what_a_dead_download_left_is_removed(source: FakeSource, tmp_path: Path) -> None:
    _cache(source, tmp_path)
    left = tmp_path / "incoming" / "0123"
    left.mkdir()
    (left / ".reserved").write_text("240")
    cache = _cache(source, tmp_path)
    assert not left.exists()
    cache.open("a").close()


def test_a_failed_read_passes_on_its_error(source: FakeSource, tmp_path: Path) -> None:
    def fail() -> None:
        raise ConnectionError("S3 is away")

    source.before_read = fail
    cache = _cache(source, tmp_path)
    with pytest.raises(ConnectionError):
        cache.open("a")
    source.before_read = lambda: None
    cache.open("a").close()


def test_same_weights_under_two_names_are_kept_once(source: FakeSource, tmp_path: Path) -> None:
    source.models["copy"] = source.models["a"]
    cache = _cache(source, tmp_path)
    first, second = cache.open("a"), cache.open("copy")
    assert first.directory.path == second.directory.path
    assert "copy/a.safetensors" not in source.reads
    first.close()
    second.close()
