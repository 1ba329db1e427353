"""Models on disk: whole or absent, checked, shared, evicted."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
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
        self.now = 0.0

    def add(self, name: str, size: int = 100) -> None:
        self.models[name] = {"model_index.json": b"{}", f"{name}.safetensors": b"x" * (size - 2)}

    def manifest(self, model: str) -> ModelManifest:
        return make_manifest(model, self.models[model])

    def read_range(self, model: str, file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        self.before_read()
        self.reads[f"{model}/{file.path}"] += 1
        spoiled = self.spoil.get(file.path)
        data = spoiled.pop(0) if spoiled else self.models[model][file.path]
        yield data[start : min(start + 10, end)]
        yield data[start + 10 : end]


@pytest.fixture
def source() -> FakeSource:
    source = FakeSource()
    for name in ("a", "b", "c"):
        source.add(name)
    return source


def _cache(source: FakeSource, directory: Path, max_bytes: int = 250) -> ModelCache:
    return ModelCache(
        source,  # type: ignore[arg-type]
        directory=directory,
        max_bytes=max_bytes,
        clock=lambda: source.now,
    )


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


@pytest.mark.parametrize("spoiled", [b"x" * 97, b"x" * 97 + b"y", b"y" * 98, b""])
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
        os.utime(model.directory.path / ".use", (moment, moment))
        model.close()
    cache.open("c").close()
    assert paths["a"].exists()
    assert not paths["b"].exists()


def _open_slowly(source: FakeSource, cache: ModelCache, name: str, seconds: float) -> Path:
    def pass_time() -> None:
        source.now += seconds / 2

    # Each model has two files.
    source.before_read = pass_time
    with closing(cache.open(name)) as model:
        return model.directory.path


def test_a_model_that_is_slow_to_bring_stays_until_it_is_stale(
    source: FakeSource, tmp_path: Path
) -> None:
    cache = _cache(source, tmp_path)
    slow = _open_slowly(source, cache, "a", 8.0)
    brought = 0
    while slow.exists() and brought < 20:
        source.add(name := f"other-{brought}")
        _open_slowly(source, cache, name, 1.0)
        brought += 1
    # The first fits beside it; after eight that went, one a second, it is worth no more than they.
    assert brought == 1 + 8


def test_times_that_differ_by_chance_do_not_matter(source: FakeSource, tmp_path: Path) -> None:
    cache = _cache(source, tmp_path)
    older = _open_slowly(source, cache, "a", 1.1)
    newer = _open_slowly(source, cache, "b", 0.9)
    _open_slowly(source, cache, "c", 1.0)
    assert (older.exists(), newer.exists()) == (False, True)


def test_all_agents_on_a_machine_go_by_the_same_costs(source: FakeSource, tmp_path: Path) -> None:
    slow = _open_slowly(source, _cache(source, tmp_path), "a", 8.0)
    fast = _open_slowly(source, _cache(source, tmp_path), "b", 1.0)
    _cache(source, tmp_path).open("c").close()
    assert (slow.exists(), fast.exists()) == (True, False)


def test_a_model_of_which_no_cost_was_noted_can_be_used_and_goes_first(
    source: FakeSource, tmp_path: Path
) -> None:
    cache = _cache(source, tmp_path)
    before = _open_slowly(source, cache, "a", 8.0)
    marker = json.loads((before / ".complete").read_text())
    del marker["seconds"]
    (before / ".complete").write_text(json.dumps(marker))
    (before / ".use").unlink()
    cache.open("a").close()
    _open_slowly(source, cache, "b", 1.0)
    cache.open("c").close()
    assert not before.exists()


def test_whoever_opens_a_model_learns_where_it_was(source: FakeSource, tmp_path: Path) -> None:
    cache = _cache(source, tmp_path)

    def tier(name: str) -> str:
        with closing(cache.open(name)) as model:
            return model.tier

    assert [tier("a"), tier("a")] == ["s3", "disk"]
    cache.fetch_ahead("b").close()
    cache.fetch_ahead("b").close()
    assert source.reads["b/b.safetensors"] == 1
    assert [tier("b"), tier("b")] == ["s3", "disk"]


def test_fetching_ahead_waits_for_nobody(source: FakeSource, tmp_path: Path) -> None:
    is_reading, may_go_on = threading.Event(), threading.Event()

    def hang() -> None:
        is_reading.set()
        may_go_on.wait(10)

    source.before_read = hang
    other = threading.Thread(target=lambda: _cache(source, tmp_path).open("a").close())
    other.start()
    is_reading.wait(10)
    with pytest.raises(TaskFailure, match="its lock could not be had") as caught:
        _cache(source, tmp_path).fetch_ahead("a")
    assert caught.value.transient
    may_go_on.set()
    other.join()


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
