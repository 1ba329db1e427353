"""What will be opened soon is brought beside everything else."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from cdk_stable_diffusion.contract import ModelFile, ModelManifest
from cdk_stable_diffusion.contract.model_kind import LORA
from cdk_stable_diffusion.runtime_image.agent.engine import ModelDirectory
from cdk_stable_diffusion.runtime_image.agent.fetch_ahead import FetchAhead, Wanted
from cdk_stable_diffusion.runtime_image.agent.image_models import ImageModels
from cdk_stable_diffusion.runtime_image.agent.model_cache import ModelCache
from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource
from cdk_stable_diffusion.runtime_image.agent.models import Models
from cdk_stable_diffusion.runtime_image.agent.near_models import NearModels
from tests.agent.fake_engine import FakeEngine
from tests.agent.scene import MODEL, Scene


class _SlowSource(ModelSource):
    """A bucket whose files come when a test says so."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene.s3, scene.model_bucket)
        self.asked = threading.Event()
        self.may_come = threading.Event()
        self.was_asked_for_missing = threading.Event()
        self.reads = 0

    def manifest(self, model: str) -> ModelManifest:
        if model == "missing":
            self.was_asked_for_missing.set()
        return super().manifest(model)

    def read_range(self, model: str, file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        self.reads += 1
        self.asked.set()
        assert self.may_come.wait(10)
        yield from super().read_range(model, file, start, end)


@pytest.fixture
def source(scene: Scene) -> _SlowSource:
    scene.publish_model()
    return _SlowSource(scene)


@pytest.fixture
def models(scene: Scene, source: _SlowSource) -> Models:
    return Models(
        runtime_class="dynamic",
        image=ImageModels(""),
        source=source,
        cache=lambda source: ModelCache(
            source, directory=scene.directory / "cache", max_bytes=10_000
        ),
    )


def test_nobody_waits_for_what_is_fetched_ahead(models: Models, source: _SlowSource) -> None:
    there: list[ModelDirectory] = []
    is_there = threading.Event()

    def then(directory: ModelDirectory) -> None:
        there.append(directory)
        is_there.set()

    models.fetch_ahead(MODEL, then=then)
    assert source.asked.wait(10)
    assert not there
    source.may_come.set()
    assert is_there.wait(10)
    assert (there[0].path / "model_index.json").read_bytes() == b"{}"
    with closing(models.open(MODEL)) as model:
        assert (model.directory, model.tier) == (there[0], "s3")
    assert source.reads == 2


def test_what_the_engine_draws_with_is_not_looked_through(
    scene: Scene, source: _SlowSource
) -> None:
    source.may_come.set()
    engine = FakeEngine()
    near = NearModels(engine)
    models = Models(
        runtime_class="dynamic",
        image=ImageModels(""),
        source=source,
        cache=lambda source: ModelCache(
            source, directory=scene.directory / "cache", max_bytes=10_000
        ),
        is_loaded=near.is_loaded,
    )

    def is_fetched_ahead() -> bool:
        is_there, is_behind = threading.Event(), threading.Event()
        models.fetch_ahead(MODEL, then=lambda _: is_there.set())
        scene.publish_model("behind")
        models.fetch_ahead("behind", then=lambda _: is_behind.set())
        assert is_behind.wait(10)
        return is_there.is_set()

    with closing(models.open(MODEL)) as model:
        near.uses(MODEL)
        assert is_fetched_ahead()
        engine.load(model.directory, timeout=1)
        assert is_fetched_ahead()
        near.is_known(MODEL, model.directory.digest)
        assert not is_fetched_ahead()
    near.uses("behind")
    assert is_fetched_ahead()


def test_who_opens_what_is_on_its_way_waits_for_it(models: Models, source: _SlowSource) -> None:
    models.fetch_ahead(MODEL)
    assert source.asked.wait(10)
    threading.Timer(0.1, source.may_come.set).start()
    with closing(models.open(MODEL)) as model:
        assert model.tier == "s3"
    assert source.reads == 2


def test_nothing_is_said_of_what_somebody_else_brings(
    models: Models, source: _SlowSource, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    opener = threading.Thread(target=lambda: models.open(MODEL).close())
    opener.start()
    assert source.asked.wait(10)
    models.fetch_ahead(MODEL)
    models.fetch_ahead("missing")
    assert source.was_asked_for_missing.wait(10)
    source.may_come.set()
    opener.join()
    is_there = threading.Event()
    models.fetch_ahead(MODEL, then=lambda _: is_there.set())
    assert is_there.wait(10)
    assert "'missing' is not fetched ahead" in caplog.text
    assert f"{MODEL!r} is not fetched ahead" not in caplog.text


def test_what_cannot_be_fetched_does_not_keep_the_next_from_it(
    models: Models, source: _SlowSource
) -> None:
    source.may_come.set()
    never, is_there = threading.Event(), threading.Event()
    models.fetch_ahead("missing", then=lambda _: never.set())
    models.fetch_ahead(MODEL, kind=LORA, then=lambda _: never.set())
    models.fetch_ahead(MODEL, then=lambda _: is_there.set())
    assert is_there.wait(10)
    assert not never.is_set()


def test_what_is_wanted_twice_is_fetched_once_and_old_wishes_are_dropped() -> None:
    fetched: list[str] = []
    begun, may_go_on, done = threading.Event(), threading.Event(), threading.Event()

    def fetch(wanted: Wanted) -> None:
        begun.set()
        assert may_go_on.wait(10)
        fetched.append(wanted.name)
        if wanted.name == "last":
            done.set()

    ahead = FetchAhead(fetch)
    ahead.want(Wanted("first", "model"))
    assert begun.wait(10)
    for number in range(100):
        ahead.want(Wanted(f"{number}", "model"))
        ahead.want(Wanted(f"{number}", "model"))
    ahead.want(Wanted("last", "model"))
    may_go_on.set()
    assert done.wait(10)
    assert fetched == ["first", *(f"{number}" for number in range(85, 100)), "last"]
