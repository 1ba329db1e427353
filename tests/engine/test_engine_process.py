"""The real engine in its process, driven as the agent drives it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from cdk_stable_diffusion.runtime_image.agent.child import ENGINE_COMMAND, ChildEngine
from cdk_stable_diffusion.runtime_image.agent.engine import (
    EngineCancelled,
    Generation,
    ModelDirectory,
)
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.engine import server
from cdk_stable_diffusion.runtime_image.engine.failure import BrokenDevice
from cdk_stable_diffusion.runtime_image.frames import FrameReader, FrameWriter
from tests.agent.scene import wait_until

TINY_SHAPES = Path(__file__).parents[2] / "src/cdk_stable_diffusion/local/models/tiny-shapes"
_START_SECONDS = 60.0


@pytest.fixture(scope="module")
def engine() -> Iterator[ChildEngine]:
    """Start one engine for all tests here; they leave it running."""
    engine = ChildEngine()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SD_MEMORY_CACHE_BYTES", str(1 << 30))
        engine.start()
    yield engine
    engine.close()


def _ready(engine: ChildEngine, directory: Path) -> ChildEngine:
    assert engine.wait_until_ready(_START_SECONDS)
    engine.load(ModelDirectory(name="random", digest="1", path=directory), timeout=60)
    return engine


def _draw(*seeds: int, steps: int = 3) -> Generation:
    return Generation(prompt="a red circle", seeds=seeds, steps=steps, guidance_scale=3.0)


def test_it_draws_and_says_with_what(engine: ChildEngine, random_model: Path) -> None:
    drawing = _ready(engine, random_model).generate(_draw(1, 2), timeout=60)
    assert [picture.seed for picture in drawing.pictures] == [1, 2]
    assert [len(picture.pixels) for picture in drawing.rasters] == [64 * 64 * 3] * 2
    assert drawing.parameters.steps == 3
    assert set(drawing.software) == {"diffusers", "torch", "transformers"}


def test_it_keeps_models_and_tells_where(engine: ChildEngine, random_model: Path) -> None:
    _ready(engine, random_model)
    assert engine.health().held["1"] == "gpu"
    before = engine.generate(_draw(1), timeout=60).rasters
    shapes = ModelDirectory(name="shapes", digest="shapes", path=TINY_SHAPES)
    assert engine.load(shapes, timeout=60) == "disk"
    assert engine.health().held == {"1": "memory", "shapes": "gpu"}
    again = ModelDirectory(name="random", digest="1", path=random_model)
    assert engine.load(again, timeout=60) == "memory"
    assert engine.generate(_draw(1), timeout=60).rasters == before


@pytest.mark.slow
def test_it_reads_a_model_while_it_draws(
    engine: ChildEngine, random_model: Path, tmp_path: Path
) -> None:
    """Slow: the process that reads must import the libraries, too."""
    _ready(engine, random_model)
    expected = engine.generate(_draw(1), timeout=60).rasters
    copy = Path(shutil.copytree(random_model, tmp_path / "copy"))
    model = ModelDirectory(name="copy", digest="copy", path=copy)
    drawing = engine.generate(_draw(1), timeout=60, on_step=lambda *_: engine.warm(model))
    assert drawing.rasters == expected
    wait_until(lambda: "copy" in engine.health().held, "it is read", seconds=_START_SECONDS)
    shutil.rmtree(copy)
    assert engine.load(model, timeout=60) == "memory"
    assert engine.generate(_draw(1), timeout=60).rasters == expected


def test_it_draws_for_several_tasks_in_one_pass(engine: ChildEngine, random_model: Path) -> None:
    engine = _ready(engine, random_model)
    steps: list[tuple[int, int]] = []
    generations = [_draw(1), replace(_draw(2, 3), prompt="blue", negative_prompt="a")]
    drawings = engine.generate_together(
        generations, timeout=60, on_step=lambda *step: steps.append(step)
    )
    assert (steps[0], steps[-1]) == ((1, 3), (3, 3))
    assert [[each.seed for each in drawing.pictures] for drawing in drawings] == [[1], [2, 3]]
    assert [drawing.parameters.seed for drawing in drawings] == [1, 2]
    assert [drawing.most_pictures for drawing in drawings] == [None, None]
    for generation, drawing in zip(generations, drawings, strict=True):
        alone = engine.generate(generation, timeout=60)
        assert alone.parameters == drawing.parameters
        for one, other in zip(alone.rasters, drawing.rasters, strict=True):
            assert max(abs(a - b) for a, b in zip(one.pixels, other.pixels, strict=True)) <= 1
    with pytest.raises(TaskFailure, match="not alike"):
        engine.generate_together([_draw(1), _draw(2, steps=4)], timeout=60)


def test_it_begins_with_a_picture(engine: ChildEngine, random_model: Path) -> None:
    file = io.BytesIO()
    # More bytes than a pipe holds at a time.
    Image.effect_noise((512, 512), 100).save(file, "PNG")
    image = file.getvalue()
    assert len(image) > 2**16
    engine = _ready(engine, random_model)
    larger = engine.generate(
        Generation(prompt="", seeds=(1,), task_type="upscale", scale=2, inputs={"image": image}),
        timeout=60,
    )
    assert [(each.width, each.height) for each in larger.pictures] == [(1024, 1024)]
    assert (larger.parameters.scale, larger.parameters.steps) == (2, None)
    mask = io.BytesIO()
    Image.new("L", (512, 512)).save(mask, "PNG")
    kept = engine.generate(
        replace(
            _draw(1, steps=1),
            task_type="inpainting",
            inputs={"image": image, "mask": mask.getvalue()},
            strength=0.5,
            width=64,
            height=64,
        ),
        timeout=60,
    )
    assert kept.parameters.strength == 0.5
    own = Image.open(file).convert("RGB").resize((64, 64), Image.Resampling.LANCZOS)
    assert kept.rasters[0].pixels == own.tobytes()
    with pytest.raises(TaskFailure, match="at most 9 pixels") as caught:
        engine.generate(
            Generation(
                prompt="",
                seeds=(1,),
                task_type="upscale",
                scale=2,
                inputs={"image": image},
                max_input_pixels=9,
            ),
            timeout=60,
        )
    assert (caught.value.code, caught.value.transient) == ("input-invalid", False)


def test_it_stops_within_one_step(engine: ChildEngine, random_model: Path) -> None:
    steps: list[int] = []
    cancelled_at: list[float] = []
    begun = threading.Event()

    def on_step(step: int, _: int) -> None:
        steps.append(step)
        begun.set()

    def cancel() -> None:
        begun.wait(60)
        cancelled_at.append(time.monotonic())
        engine.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    with pytest.raises(EngineCancelled):
        _ready(engine, random_model).generate(_draw(1, steps=150), timeout=120, on_step=on_step)
    canceller.join()
    assert len(steps) < 150
    assert len(engine.generate(_draw(1), timeout=60).pictures) == 1


def test_a_model_that_cannot_be_loaded_leaves_the_engine_usable(
    engine: ChildEngine, random_model: Path, tmp_path: Path
) -> None:
    _ready(engine, random_model)
    with pytest.raises(TaskFailure) as caught:
        engine.load(ModelDirectory(name="empty", digest="2", path=tmp_path), timeout=60)
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    assert len(_ready(engine, random_model).generate(_draw(1), timeout=60).pictures) == 1


@pytest.mark.slow
def test_a_kill_is_noticed_and_the_replacement_draws_the_same(
    engine: ChildEngine, random_model: Path
) -> None:
    before = _ready(engine, random_model).generate(_draw(9), timeout=60)
    assert engine.process_id is not None
    killer = threading.Timer(0.2, os.kill, (engine.process_id, signal.SIGKILL))
    killer.start()
    with pytest.raises(TaskFailure, match="SIGKILL") as caught:
        engine.generate(_draw(1, 2, 3, 4, steps=150), timeout=120)
    assert caught.value.transient
    after = _ready(engine, random_model).generate(_draw(9), timeout=60)
    assert before.pictures == after.pictures


def test_it_tells_how_it_is_while_it_still_imports() -> None:
    from_test, to_engine = os.pipe()
    from_engine, to_test = os.pipe()
    process = subprocess.Popen(
        [*ENGINE_COMMAND, str(from_test), str(to_test)], pass_fds=(from_test, to_test)
    )
    os.close(from_test)
    os.close(to_test)
    reader, writer = FrameReader(from_engine), FrameWriter(to_engine)
    writer.write({"command": "health", "id": 1})
    answer = reader.read()
    assert answer is not None
    assert answer.header == {"id": 1, "event": "done", "state": "importing", "model": None}
    # The closing of its pipe ends it, whatever it does at the time.
    writer.close()
    assert process.wait(5) == 0
    reader.close()


_PARENT = """
import sys, time
from cdk_stable_diffusion.runtime_image.agent.child import ENGINE_COMMAND, ChildEngine
engine = ChildEngine()
engine.start()
print(engine.process_id, flush=True)
time.sleep(60)
"""


def test_it_does_not_outlive_its_agent() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 3
    while Path(f"/proc/{child}/stat").exists():
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        assert time.monotonic() < deadline, "the engine goes on alone"
        time.sleep(0.02)


def test_a_broken_device_ends_it_and_the_agent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        device = "cuda"
        most_pictures: int | None = None

        def load(self, directory: Path, digest: str) -> str:
            raise BrokenDevice("generation-failed", "CUDA error", transient=True)

        def draw(self, order: object, on_step: object, cancelled: object) -> None:
            raise AssertionError("is never asked")

        draw_together = draw

        def warm(self, directory: Path, digest: str) -> None:
            raise AssertionError("is never told")

    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    commands, answers = os.pipe(), os.pipe()
    reader, writer = FrameReader(commands[0]), FrameWriter(answers[1])
    header = {"command": "load", "id": 1, "directory": "/", "digest": "1"}
    server.Server(reader, writer)._do(header, Broken())
    answer = FrameReader(answers[0]).read()
    assert answer is not None
    assert (answer.header["event"], answer.header["broken"]) == ("failed", True)
    assert statuses == [70]
    for descriptor in (*commands, *answers):
        os.close(descriptor)


@pytest.mark.parametrize(("state", "is_read"), [("idle", False), ("generating", True)])
def test_it_reads_ahead_only_while_it_has_something_to_do(state: str, is_read: bool) -> None:
    warmed: list[tuple[Path, str]] = []

    class Recording:
        device = "cpu"
        most_pictures: int | None = None

        def load(self, directory: Path, digest: str) -> str:
            raise AssertionError("is never asked")

        def draw(self, order: object, on_step: object, cancelled: object) -> None:
            raise AssertionError("is never asked")

        draw_together = draw

        def warm(self, directory: Path, digest: str) -> None:
            warmed.append((directory, digest))

    with open(os.devnull, "rb") as commands, open(os.devnull, "wb") as answers:
        reader, writer = FrameReader(commands.fileno()), FrameWriter(answers.fileno())
        served = server.Server(reader, writer)
        command = {"command": "warm", "directory": "/m", "digest": "d"}
        # Before its imports are done, too, nothing is.
        served._warm(command)
        served._diffusion, served._state = Recording(), state
        served._warm(command)
    assert warmed == ([(Path("/m"), "d")] if is_read else [])


def test_one_that_is_ready_ends_with_its_pipe(engine: ChildEngine) -> None:
    assert engine.wait_until_ready(_START_SECONDS)
    child = engine._child
    assert child is not None
    # All that is left of an agent that is killed; the last test of these, since it ends the engine.
    child._writer.close()
    assert child.process.wait(5) == 0
