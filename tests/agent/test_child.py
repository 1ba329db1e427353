"""The engine as a child process: watched, cancelled, replaced."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from cdk_stable_diffusion.runtime_image.agent.engine import (
    EngineCancelled,
    Generation,
    ModelDirectory,
)
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from tests.agent.agent_process import STAND_IN
from tests.agent.scene import wait_until

MODEL = ModelDirectory(name="m", digest="d", path=Path("/"))


@pytest.fixture
def engine() -> Iterator[ChildEngine]:
    engine = ChildEngine(STAND_IN)
    engine.start()
    assert engine.wait_until_ready(20)
    yield engine
    engine.close()
    assert not engine.health().running


def _draw(prompt: str, *, seeds: tuple[int, ...] = (0,)) -> Generation:
    return Generation(prompt=prompt, seeds=seeds)


def _pipes() -> set[str]:
    """The pipes that this process holds, by their own numbers.

    Descriptors would not do: what an earlier test left to the garbage collector may be closed
    at any moment, and its descriptor be used again.
    """
    held = set()
    for descriptor in os.listdir("/proc/self/fd"):
        with contextlib.suppress(FileNotFoundError):
            held.add(os.readlink(f"/proc/self/fd/{descriptor}"))
    return {each for each in held if each.startswith("pipe:")}


def _gone(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return True
    return False


def test_it_loads_and_draws_with_progress(engine: ChildEngine) -> None:
    steps: list[tuple[int, int]] = []
    engine.load(MODEL, timeout=5)
    drawing = engine.generate(
        _draw("sleep 0.2", seeds=(4, 5)), timeout=5, on_step=lambda *step: steps.append(step)
    )
    assert [picture.seed for picture in drawing.pictures] == [4, 5]
    assert all(len(picture.pixels) == 8 * 8 * 3 for picture in drawing.rasters)
    assert (steps[0], steps[-1]) == ((1, 4), (4, 4))
    assert engine.health().model == "d"


def test_it_tells_where_it_holds_models(engine: ChildEngine) -> None:
    other = replace(MODEL, name="n", digest="e")
    assert engine.health().held == {}
    assert engine.load(MODEL, timeout=5) == "disk"
    assert engine.load(MODEL, timeout=5) == "gpu"
    engine.warm(other)
    wait_until(lambda: engine.health().held == {"d": "gpu", "e": "memory"}, "it is read")
    assert engine.health().model == "d"
    assert engine.load(other, timeout=5) == "memory"
    assert engine.load(MODEL, timeout=5) == "gpu"


def test_a_child_that_died_holds_nothing(engine: ChildEngine) -> None:
    engine.load(MODEL, timeout=5)
    with pytest.raises(TaskFailure, match="SIGSEGV"):
        engine.generate(_draw("die"), timeout=5)
    assert engine.wait_until_ready(20)
    assert engine.health().held == {}
    engine.close()
    # Without a child, there is nothing to read it.
    engine.warm(MODEL)


def test_it_draws_for_several_tasks(engine: ChildEngine) -> None:
    drawings = engine.generate_together([_draw("x", seeds=(4, 5)), _draw("y")], timeout=5)
    assert [[each.seed for each in drawing.pictures] for drawing in drawings] == [[4, 5], [0]]
    assert [drawing.parameters.seed for drawing in drawings] == [4, 0]


def test_what_a_library_prints_does_not_disturb(engine: ChildEngine) -> None:
    assert len(engine.generate(_draw("noise"), timeout=5).pictures) == 1


def test_a_crash_is_a_transient_failure_and_the_child_is_replaced(engine: ChildEngine) -> None:
    engine.load(MODEL, timeout=5)
    first = engine.process_id
    with pytest.raises(TaskFailure, match="SIGSEGV") as caught:
        engine.generate(_draw("die"), timeout=5)
    assert (caught.value.code, caught.value.transient) == ("generation-failed", True)
    assert engine.wait_until_ready(20)
    assert engine.process_id != first
    assert engine.health().model is None
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_a_crash_between_two_tasks_is_repaired(engine: ChildEngine) -> None:
    engine.load(MODEL, timeout=5)
    assert engine.process_id is not None
    os.kill(engine.process_id, 9)
    wait_until(lambda: not engine.health().running, "the death is noticed")
    assert engine.wait_until_ready(20)
    engine.load(MODEL, timeout=5)
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_a_hang_past_the_deadline_kills_the_child(engine: ChildEngine) -> None:
    first = engine.process_id
    assert first is not None
    with pytest.raises(TaskFailure) as caught:
        engine.generate(_draw("hang"), timeout=0.3)
    assert (caught.value.code, caught.value.transient) == ("deadline-exceeded", True)
    assert _gone(first)
    assert engine.wait_until_ready(20)


def test_a_task_that_has_too_many_steps_for_its_time_is_stopped_for_good_and_keeps_the_child(
    engine: ChildEngine,
) -> None:
    engine.load(MODEL, timeout=5)
    first = engine.process_id
    with pytest.raises(TaskFailure, match="steps done") as caught:
        engine.generate(_draw("sleep 30"), timeout=0.5)
    assert (caught.value.code, caught.value.transient) == ("deadline-exceeded", False)
    assert (engine.process_id, engine.health().model) == (first, "d")
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_a_hang_after_some_steps_may_go_well_on_another_try(engine: ChildEngine) -> None:
    with pytest.raises(TaskFailure) as caught:
        engine.generate(_draw("stall 30"), timeout=0.5)
    assert (caught.value.code, caught.value.transient) == ("deadline-exceeded", True)


def test_a_child_that_cannot_be_killed_is_left_alone(
    engine: ChildEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose driver hangs in the kernel."""
    assert engine._child is not None
    process = engine._child.process

    def wait(timeout: float | None = None) -> int:
        raise subprocess.TimeoutExpired("engine", timeout or 0.0)

    monkeypatch.setattr(process, "wait", wait)
    with pytest.raises(TaskFailure):
        engine.generate(_draw("hang"), timeout=0.2)
    assert engine.wait_until_ready(20)
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1
    monkeypatch.undo()
    process.wait(5)


def test_a_refusal_is_final_and_keeps_the_child(engine: ChildEngine) -> None:
    first = engine.process_id
    with pytest.raises(TaskFailure) as caught:
        engine.generate(_draw("refuse"), timeout=5)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)
    assert engine.process_id == first


def test_cancel_ends_the_drawing_and_keeps_the_child(engine: ChildEngine) -> None:
    first = engine.process_id
    begun = threading.Event()

    def cancel() -> None:
        begun.wait(5)
        engine.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    began = time.monotonic()
    with pytest.raises(EngineCancelled):
        engine.generate(_draw("sleep 20"), timeout=30, on_step=lambda *_: begun.set())
    canceller.join()
    assert time.monotonic() - began < 5
    assert engine.process_id == first
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_cancel_without_a_task_does_nothing(engine: ChildEngine) -> None:
    engine.cancel()
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_what_is_prepared_begins_by_itself_and_is_drawn_once(engine: ChildEngine) -> None:
    first = _draw("sleep 0.1")
    next_ = _draw("sleep 0.4", seeds=(3, 4))
    engine.generate(first, timeout=5, on_step=lambda *_: engine.prepare([next_]))
    time.sleep(0.5)
    began = time.monotonic()
    drawing = engine.generate(next_, timeout=5)
    assert time.monotonic() - began < 0.3
    assert [picture.seed for picture in drawing.pictures] == [3, 4]
    assert len(engine.generate(first, timeout=5).pictures) == 1


@pytest.mark.parametrize("instead", ["another", "several", "a model", "nothing"])
def test_what_is_prepared_in_vain_is_stopped(engine: ChildEngine, instead: str) -> None:
    engine.prepare([_draw("sleep 20")])
    if instead == "a model":
        engine.load(MODEL, timeout=5)
    elif instead == "nothing":
        engine.prepare(())
    short = _draw("x", seeds=(7, 8))
    if instead == "several":
        drawing = engine.generate_together([short, short], timeout=5)[1]
    else:
        drawing = engine.generate(short, timeout=5)
    assert [picture.seed for picture in drawing.pictures] == [7, 8]


def test_what_was_prepared_for_a_child_that_died_is_sent_to_the_next(engine: ChildEngine) -> None:
    engine.prepare([_draw("x")])
    assert engine.process_id is not None
    os.kill(engine.process_id, 9)
    wait_until(lambda: not engine.health().running, "the death is noticed")
    engine.prepare([_draw("x")])
    assert engine.wait_until_ready(20)
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_close_ends_a_busy_child_and_its_task(engine: ChildEngine) -> None:
    process_id = engine.process_id
    assert process_id is not None
    closer = threading.Timer(0.2, engine.close)
    closer.start()
    with pytest.raises(TaskFailure):
        engine.generate(_draw("sleep 20"), timeout=30)
    closer.join()
    assert _gone(process_id)
    assert not engine.wait_until_ready(0.1)


def test_a_child_that_cannot_start_is_tried_again_with_pauses() -> None:
    engine = ChildEngine((*STAND_IN, "--die-at-start"))
    began = time.monotonic()
    assert not engine.wait_until_ready(1.5)
    assert time.monotonic() - began >= 1.4
    assert not engine.health().ready
    with pytest.raises(TaskFailure) as caught:
        engine.generate(_draw("x"), timeout=1)
    assert caught.value.transient
    engine.close()


def test_a_child_with_a_broken_device_is_replaced_before_the_next_task(
    engine: ChildEngine,
) -> None:
    first = engine.process_id
    assert first is not None
    with pytest.raises(TaskFailure, match="CUDA") as caught:
        engine.generate(_draw("break"), timeout=5)
    assert caught.value.transient
    assert _gone(first)
    assert engine.wait_until_ready(20)
    assert len(engine.generate(_draw("x"), timeout=5).pictures) == 1


def test_a_command_that_cannot_be_run_leaves_no_pipes_open() -> None:
    engine = ChildEngine(("/does/not/exist",))
    before = _pipes()
    with pytest.raises(FileNotFoundError):
        engine.start()
    assert _pipes() <= before
