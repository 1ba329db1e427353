"""Several models in one engine: each draws what it would draw alone, wherever it was meanwhile."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from cdk_stable_diffusion.runtime_image.engine import warmer
from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion
from cdk_stable_diffusion.runtime_image.engine.failure import EngineFailure
from cdk_stable_diffusion.runtime_image.engine.finishing import Finishing
from cdk_stable_diffusion.runtime_image.engine.loaded_model import LoadedModel
from cdk_stable_diffusion.runtime_image.engine.loading import load_pipeline
from cdk_stable_diffusion.runtime_image.engine.model_directory import weights_size
from cdk_stable_diffusion.runtime_image.engine.placement import Placement
from cdk_stable_diffusion.runtime_image.engine.reading_ahead import READY, serve
from cdk_stable_diffusion.runtime_image.engine.shelf import Shelf
from tests.agent.scene import wait_until
from tests.engine import tiny_assets
from tests.engine.orders import ORDER

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)
TINY_SHAPES = Path(__file__).parents[2] / "src/cdk_stable_diffusion/local/models/tiny-shapes"
ROOM = 1 << 30


def _pixels(diffusion: Diffusion, **changes: Any) -> bytes:
    (picture,), _ = diffusion.draw(replace(ORDER, **changes), lambda *_: None, lambda: False)
    return picture.pixels


def _alone(model: Path, **changes: Any) -> bytes:
    diffusion = Diffusion()
    diffusion.load(model)
    return _pixels(diffusion, **changes)


class Elsewhere(LoadedModel):
    """A model that leaves nothing where it was when it is moved."""

    def _move(self, device: str) -> None:
        del device
        for tensor in self._tensors():
            kept = tensor.detach().clone()
            with torch.no_grad():
                tensor.fill_(float("nan") if tensor.is_floating_point() else 0)
            tensor.data = kept


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> Diffusion:
    """Return an engine that keeps models."""
    monkeypatch.setattr(
        "cdk_stable_diffusion.runtime_image.engine.diffusion.LoadedModel", Elsewhere
    )
    return Diffusion(memory_cache_bytes=ROOM)


def test_a_model_that_was_moved_out_and_back_draws_the_same(
    several: Diffusion, random_model: Path, tmp_path: Path
) -> None:
    assert several.load(TINY_SHAPES, "tiny") == "disk"
    before = _pixels(several)
    assert several.load(random_model, "random") == "disk"
    other = _pixels(several)
    assert other != before
    # Their files are needed no more.
    for tier, digest, pixels in (
        ("memory", "tiny", before),
        ("gpu", "tiny", before),
        ("memory", "random", other),
        ("memory", "tiny", before),
    ):
        assert several.load(tmp_path, digest) == tier
        assert _pixels(several) == pixels
    assert before == _alone(TINY_SHAPES)


def test_what_was_added_to_one_model_is_nothing_to_another(
    several: Diffusion, random_model: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(random_model, tmp_path / "copy"))
    lora = tiny_assets.lora_of_diffusers(tmp_path / "lora", seed=3)
    word = tiny_assets.embedding(tmp_path / "word")
    vae = tiny_assets.vae_of_diffusers(tmp_path / "vae", seed=4)
    added: Mapping[str, Any] = {
        "adapters": (lora,),
        "embeddings": (word,),
        "vae": vae,
        "prompt": "a <word>",
        "scheduler": "euler",
    }
    several.load(random_model, "one")
    plain, changed = _pixels(several), _pixels(several, **added)
    assert changed != plain
    several.load(copy, "two")
    assert several._model().additions.adapters.loaded == ()
    assert _pixels(several) == plain
    several.load(random_model, "one")
    # What was read for it has moved with it.
    assert several._model().additions.adapters.loaded == (lora.digest,)
    assert len(several._model().additions.modules) == 1
    assert _pixels(several, **added) == changed
    assert _pixels(several) == plain
    several.load(copy, "two")
    assert _pixels(several, **added) == changed


def test_without_memory_for_it_a_model_is_gone(random_model: Path) -> None:
    told: list[Mapping[str, str]] = []
    diffusion = Diffusion(told=told.append)
    diffusion.load(TINY_SHAPES, "tiny")
    first = diffusion._model()
    assert diffusion.load(random_model, "random") == "disk"
    # It has gone before the other is read.
    assert told == [{"tiny": "gpu"}, {}, {"random": "gpu"}]
    assert {each.device.type for each in first._tensors()} == {"meta"}
    assert diffusion.load(TINY_SHAPES, "tiny") == "disk"
    # Nothing is read ahead that could not be kept.
    diffusion.warm(random_model, "random")
    assert diffusion._warmer._thread is None


def test_a_model_that_cannot_be_loaded_leaves_the_others(
    several: Diffusion, tmp_path: Path
) -> None:
    several.load(TINY_SHAPES, "tiny")
    with pytest.raises(EngineFailure, match="is no model"):
        several.load(tmp_path, "empty")
    with pytest.raises(EngineFailure, match="no model is loaded"):
        _pixels(several)
    assert several.load(tmp_path, "tiny") in ("gpu", "memory")
    assert _pixels(several) == _alone(TINY_SHAPES)


class Crowded:
    """A device on which there is room for everything."""

    def free(self) -> int:
        """Return very much."""
        return 1 << 50

    def total(self) -> int:
        """Return more than that."""
        return 1 << 51


def test_a_drawing_that_runs_out_of_memory_has_that_of_the_others(
    random_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    diffusion = Diffusion()
    diffusion._shelf = Shelf(ROOM)
    diffusion._placement = Placement(Crowded(), diffusion._shelf)
    diffusion.load(TINY_SHAPES, "tiny")
    diffusion.load(random_model, "random")
    assert diffusion._placement.held == {"tiny": "gpu", "random": "gpu"}
    images = diffusion._images

    def short_of_memory(*arguments: Any) -> Any:
        if diffusion._placement.spare("random"):
            raise torch.OutOfMemoryError("CUDA out of memory")
        return images(*arguments)

    monkeypatch.setattr(diffusion, "_images", short_of_memory)
    with caplog.at_level(logging.WARNING):
        assert _pixels(diffusion) == _alone(random_model)
    assert "beside other models" in caplog.text
    assert diffusion._placement.held == {"tiny": "memory", "random": "gpu"}
    monkeypatch.setattr(diffusion._placement, "spare", lambda digest: 1)
    with pytest.raises(EngineFailure) as caught:
        _pixels(diffusion)
    assert caught.value.code == "out-of-memory"


def test_the_size_is_that_of_the_weights(random_model: Path, tmp_path: Path) -> None:
    diffusion = Diffusion()
    diffusion.load(random_model)
    model = diffusion._model()
    size = weights_size(random_model, bytes_each=4)
    # Buffers of whole numbers are in no file, or in another type.
    assert size == pytest.approx(model.size, rel=0.01)
    assert weights_size(random_model, bytes_each=2) == size // 2
    _pixels(diffusion, vae=tiny_assets.vae_of_diffusers(tmp_path / "vae", seed=4))
    assert model.size > size


def test_what_is_not_loaded_has_no_size(random_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(random_model, tmp_path / "model"))
    size = weights_size(model, bytes_each=2)
    unet = model / "unet" / "diffusion_pytorch_model.safetensors"
    # As models are published: with all that was ever made of them.
    shutil.copy(unet, model / "all-in-one.safetensors")
    for name in ("fp16", "non_ema", "fp16-00001-of-00002"):
        shutil.copy(unet, unet.with_name(f"diffusion_pytorch_model.{name}.safetensors"))
    for folder in ("controlnet", "safety_checker"):
        (model / folder).mkdir()
        shutil.copy(unet, model / folder / "model.safetensors")
    assert weights_size(model, bytes_each=2) == size
    assert weights_size(model, bytes_each=2, with_checker=True) > size
    halves = Path(shutil.copytree(random_model, tmp_path / "halves"))
    for path in halves.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert weights_size(halves, bytes_each=2) == size
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(unet, single / "all.in.one.safetensors")
    assert 0 < weights_size(single, bytes_each=2) < size


def test_a_file_that_boasts_makes_no_other_model_go(random_model: Path, tmp_path: Path) -> None:
    diffusion = Diffusion()
    diffusion._placement = Placement(Crowded(), diffusion._shelf)
    diffusion.load(TINY_SHAPES, "tiny")
    boasting = Path(shutil.copytree(random_model, tmp_path / "boasting"))
    tensor = {"dtype": "F16", "shape": [10**399], "data_offsets": [0, 2]}
    header = json.dumps({"conv_in.bias": tensor}).encode()
    file = boasting / "unet" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    with pytest.raises(EngineFailure) as caught:
        diffusion.load(boasting, "boasting")
    assert caught.value.code == "model-invalid"
    assert diffusion._placement.held == {"tiny": "gpu"}


class Reader:
    """What reads ahead, in this process."""

    def __init__(self) -> None:
        self.go_on = threading.Event()
        self.go_on.set()
        self.reads: list[str] = []
        self.starts = 0

    def start(self) -> socket.socket:
        """Start a thread instead of a process."""
        self.starts += 1
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threading.Thread(target=self._serve, args=(theirs,), daemon=True).start()
        return ours

    def _serve(self, channel: socket.socket) -> None:
        with channel, contextlib.suppress(SystemExit, BrokenPipeError):
            serve(channel, self._read)

    def _read(self, directory: Path, **settings: Any) -> Any:
        self.reads.append(directory.name)
        assert self.go_on.wait(20)
        if directory.name == "end":
            raise SystemExit
        return load_pipeline(directory, **settings)


@pytest.fixture
def reader() -> Reader:
    """Return what reads ahead."""
    return Reader()


@pytest.fixture
def warmed(reader: Reader) -> Iterator[Diffusion]:
    """Return an engine that has models read ahead."""
    told: list[Mapping[str, str]] = []
    diffusion = Diffusion(memory_cache_bytes=ROOM, told=told.append)
    diffusion._warmer._start = reader.start
    diffusion.load(TINY_SHAPES, "tiny")
    yield diffusion
    reader.go_on.set()
    # What it was told is what is so.
    assert told[-1] == diffusion._placement.held


def _mapped() -> set[str]:
    """Return the files in memory that are mapped, by their numbers."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {line.split()[4] for line in maps if "memfd:model" in line}


def test_a_model_that_was_read_ahead_draws_the_same(
    warmed: Diffusion, random_model: Path, tmp_path: Path
) -> None:
    warmed.warm(random_model, "random")
    wait_until(lambda: warmed._placement.held.get("random") == "memory", "it is read")
    assert _pixels(warmed) == _alone(TINY_SHAPES)
    assert warmed.load(tmp_path, "random") == "memory"
    assert _pixels(warmed) == _alone(random_model)
    lora = tiny_assets.lora_of_diffusers(tmp_path / "lora", seed=3)
    assert _pixels(warmed, adapters=(lora,)) == _alone(random_model, adapters=(lora,))


@pytest.mark.parametrize("model", ["random_model", "xl_model"])
def test_when_it_moves_on_it_leaves_no_memory_behind(
    warmed: Diffusion, model: str, request: pytest.FixtureRequest
) -> None:
    before = _mapped()
    warmed.warm(request.getfixturevalue(model), "next")
    wait_until(lambda: "next" in warmed._placement.held, "it is read")
    warmed.load(Path(), "next")
    _pixels(warmed)
    (memory,) = _mapped() - before
    # As when it is moved to a GPU; it is kept in every other way.
    warmed._model().drop()
    assert memory not in _mapped()


def test_who_loads_a_model_that_is_being_read_waits_for_it(
    warmed: Diffusion, reader: Reader, random_model: Path
) -> None:
    reader.go_on.clear()
    warmed.warm(random_model, "random")
    wait_until(lambda: bool(reader.reads), "it is being read")
    threading.Timer(0.1, reader.go_on.set).start()
    assert warmed.load(Path(), "random") == "memory"


def test_who_loads_a_model_does_not_wait_for_what_hangs(
    warmed: Diffusion,
    reader: Reader,
    random_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(warmer, "LONGEST_READING_SECONDS", 0.05)
    # In the end it ends, so that two do not read in one process.
    model = Path(shutil.copytree(random_model, tmp_path / "end"))
    reader.go_on.clear()
    warmed.warm(model, "hangs")
    wait_until(lambda: bool(reader.reads), "it is being read")
    assert warmed.load(model, "hangs") == "disk"
    wait_until(lambda: warmed._warmer._channel is None, "it is given up")
    reader.go_on.set()
    warmed.warm(random_model, "random")
    wait_until(lambda: warmed._placement.held.get("random") == "memory", "another was started")
    assert reader.starts == 2


def test_models_are_read_in_turn_but_for_those_that_were_loaded_meanwhile(
    warmed: Diffusion, reader: Reader, random_model: Path, tmp_path: Path
) -> None:
    copies = {name: Path(shutil.copytree(random_model, tmp_path / name)) for name in "abcdefg"}
    reader.go_on.clear()
    warmed.warm(copies["a"], "a")
    wait_until(lambda: bool(reader.reads), "it is being read")
    # At most four wait, and each once.
    for name in "bbcdefg":
        warmed.warm(copies[name], name)
    # It does not wait for others to be read.
    assert warmed.load(copies["f"], "f") == "disk"
    reader.go_on.set()
    wait_until(lambda: "g" in warmed._placement.held, "the last is read")
    assert reader.reads == ["a", "d", "e", "g"]
    there = {**dict.fromkeys(("tiny", *reader.reads), "memory"), "f": "gpu"}
    assert warmed._placement.held == there
    warmed.warm(copies["a"], "a")
    wait_until(lambda: not warmed._warmer._waiting, "it was thought about")
    warmed._warmer.leave("a")
    assert (len(reader.reads), reader.starts) == (4, 1)


def test_reading_ahead_that_fails_is_nothing_to_the_tasks(
    warmed: Diffusion, reader: Reader, random_model: Path, tmp_path: Path
) -> None:
    warmed.warm(tmp_path / "gone", "gone")
    wait_until(lambda: reader.reads == ["gone"], "it was tried")
    end = tmp_path / "end"
    end.mkdir()
    warmed.warm(end, "end")
    wait_until(lambda: warmed._warmer._channel is None, "it has ended")
    warmed.warm(random_model, "random")
    wait_until(lambda: "random" in warmed._placement.held, "another was started")
    assert reader.starts == 2
    assert set(warmed._placement.held) == {"tiny", "random"}


def test_a_model_that_may_not_be_drawn_with_is_not_kept(
    reader: Reader, random_model: Path, tmp_path: Path
) -> None:
    diffusion = Diffusion(Finishing(safety_checker="model"), memory_cache_bytes=ROOM)
    diffusion._warmer._start = reader.start
    copy = Path(shutil.copytree(random_model, tmp_path / "copy"))

    def warm(model: Path) -> None:
        diffusion.warm(model, model.name)
        wait_until(lambda: model.name in reader.reads, "it was read")
        diffusion._warmer.leave(model.name)

    warm(random_model)
    warm(copy)
    assert diffusion._placement.held == {}
    # What reads has done nothing wrong.
    assert reader.starts == 1


def test_a_model_that_lacks_weights_is_to_blame_however_it_is_read(
    warmed: Diffusion, reader: Reader, random_model: Path, tmp_path: Path
) -> None:
    lacking = Path(shutil.copytree(random_model, tmp_path / "lacking"))
    file = lacking / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    del weights["conv_in.bias"]
    save_file(weights, file)
    warmed.warm(lacking, "lacking")
    wait_until(lambda: reader.reads == ["lacking"], "it was tried")
    warmed._warmer.leave("lacking")
    assert set(warmed._placement.held) == {"tiny"}
    with pytest.raises(EngineFailure, match=r"unet/ has no weights for conv_in\.bias") as caught:
        warmed.load(lacking, "lacking")
    assert caught.value.code == "model-invalid"


def test_what_made_room_for_a_model_that_cannot_be_read_is_held_no_more(
    warmed: Diffusion, reader: Reader, random_model: Path, tmp_path: Path
) -> None:
    broken = Path(shutil.copytree(random_model, tmp_path / "broken"))
    (broken / "model_index.json").write_text("{}")
    warmed.load(random_model, "random")
    warmed._shelf.most_bytes = weights_size(broken, bytes_each=4) + 1
    assert warmed._placement.held == {"tiny": "memory", "random": "gpu"}
    warmed.warm(broken, "broken")
    wait_until(lambda: reader.reads == ["broken"], "it was tried")
    warmed._warmer.leave("broken")
    # What the agent was told is looked at in the end.
    assert warmed._placement.held == {"random": "gpu"}


def test_a_model_that_the_memory_cannot_hold_is_not_read(
    warmed: Diffusion, reader: Reader, random_model: Path
) -> None:
    warmed._shelf.most_bytes = 1_000
    warmed.warm(random_model, "random")
    wait_until(lambda: not warmed._warmer._waiting, "it was thought about")
    assert warmed.load(random_model, "random") == "disk"
    assert reader.reads == []


def test_the_process_ends_with_what_started_it() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    thread = threading.Thread(target=serve, args=(theirs, load_pipeline))
    thread.start()
    assert ours.recv(100) == READY
    ours.close()
    thread.join(10)
    assert not thread.is_alive()
    theirs.close()
