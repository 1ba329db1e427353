"""Tasks in hand that share a forward pass: fewer passes, and none pays for another."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cdk_stable_diffusion.contract import TaskMessage
from cdk_stable_diffusion.contract.keys import RETURNED_PREFIX
from cdk_stable_diffusion.runtime_image.agent import service, watch
from cdk_stable_diffusion.runtime_image.agent.engine import EngineCancelled, Generation
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.retry import Backoff
from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.agent.signals import Signals
from tests.agent.fake_engine import FakeEngine
from tests.agent.processes import Run, log, ready
from tests.agent.scene import FILES, MODEL, Scene, wait_until

QUICK = Backoff(first_seconds=0.02, longest_seconds=0.1, total_seconds=0.5)


class Gate(FakeEngine):
    """An engine whose generations named "gate" wait until it is opened; "hold" until let go."""

    def __init__(self) -> None:
        super().__init__(self._wait)
        self.opened = threading.Event()
        self.let_go = threading.Event()
        self.failures: dict[str, list[TaskFailure]] = {}
        self.in_hand: Callable[[], int] = lambda: 0
        self.cancelled = False

    def generate(self, generation: Generation, **rest: Any) -> Any:
        """Be nearly done at once, as the agent sees it, so that it fetches ahead."""
        on_step = rest["on_step"] if "on_step" in rest else None
        if generation.prompt == "gate" and on_step is not None:
            on_step(99_999, 100_000)
        drawing = super().generate(generation, **rest)
        if on_step is not None:
            on_step(1, 1)
        return drawing

    def cancel(self) -> None:
        """Stop what is held."""
        self.cancelled = True
        self.let_go.set()

    def _wait(self, generation: Generation) -> None:
        if generation.prompt == "gate":
            assert self.opened.wait(20)
        if generation.prompt == "hold":
            assert self.let_go.wait(20)
            if self.cancelled:
                raise EngineCancelled
        failures = self.failures.get(generation.prompt)
        if failures:
            raise failures.pop()


@pytest.fixture
def engine(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    """Run an agent that batches, and end it after the test."""
    monkeypatch.setattr(service, "_POLL_GRACE_SECONDS", 0.01)
    scene.publish_model()
    engine = Gate()
    agent = Agent(scene.with_settings(batch_tasks=4), engine, scene.clients(), backoff=QUICK)
    engine.in_hand = lambda: len(agent._intake._hand)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    agent.start()
    yield engine
    agent.shutdown.request(0.5)
    agent.drain(Signals())


def _draw_behind_the_gate(
    scene: Scene, engine: Gate, requests: list[dict[str, Any]]
) -> list[TaskMessage]:
    """Have the agent draw once, and then hold all of these tasks when it can draw again."""
    engine.opened.clear()
    begun = len(engine.generations)
    scene.send(prompt="measure")
    scene.wait_for_results(1)
    scene.send(prompt="gate")
    wait_until(lambda: len(engine.generations) == begun + 2, "the gate is begun")
    del engine.passes[:]
    tasks = [scene.send(**request) for request in requests]
    wait_until(lambda: engine.in_hand() == len(requests), "all are in hand")
    engine.opened.set()
    return tasks


def test_tasks_in_hand_share_a_pass_and_each_has_its_own_result(scene: Scene, engine: Gate) -> None:
    requests: list[dict[str, Any]] = [
        {"prompt": "a", "seed": 10, "num_images": 2},
        {"prompt": "b", "seed": 20, "negative_prompt": "x", "output_format": "webp"},
        {"prompt": "c", "seed": 30, "context": {"mine": 1}, "output_prefix": "shop"},
    ]
    _draw_behind_the_gate(scene, engine, requests)
    results = {
        result.parameters.seed: result
        for result in scene.wait_for_results(4)
        if result.parameters is not None
    }
    assert engine.passes == [3]
    # And the engine was told of them before it had finished what it did.
    assert engine.prepared == [["a", "b", "c"]]
    assert [[image.seed for image in results[seed].images] for seed in (10, 20, 30)] == [
        [10, 11],
        [20],
        [30],
    ]
    assert [image.content_type for image in results[20].images] == ["image/webp"]
    assert results[30].context == {"mine": 1}
    for seed in (10, 20, 30):
        result = results[seed]
        assert (result.status, result.attempt) == ("succeeded", 1)
        for image in result.images:
            assert image.key in scene.keys()
    wait_until(lambda: scene.left() == (0, 0), "every message is deleted")


def test_what_is_not_alike_has_a_pass_of_its_own(scene: Scene, engine: Gate) -> None:
    requests: list[dict[str, Any]] = [{"prompt": "a"}, {"prompt": "b", "steps": 9}, {"prompt": "c"}]
    _draw_behind_the_gate(scene, engine, requests)
    assert all(result.status == "succeeded" for result in scene.wait_for_results(4))
    assert engine.passes == [2, 1]
    assert [each.prompt for each in engine.generations] == ["measure", "gate", "a", "c", "b"]


def test_a_pass_has_no_more_pictures_than_fit(scene: Scene, engine: Gate) -> None:
    engine.most_pictures = 2
    _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in "abcd"])
    assert all(result.status == "succeeded" for result in scene.wait_for_results(5))
    assert engine.passes == [2, 2]


@pytest.mark.parametrize("code", ["out-of-memory", "generation-failed"])
def test_a_pass_that_was_too_much_costs_no_task_a_try_and_the_next_is_smaller(
    scene: Scene, engine: Gate, code: str
) -> None:
    engine.failures["b"] = [TaskFailure(code, "in company", transient=True)]
    _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in "abcd"])
    results = scene.wait_for_results(5)
    assert all((result.status, result.attempt) == ("succeeded", 1) for result in results)
    assert engine.passes == [4, 1, 1, 1, 1]
    _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in "efgh"])
    scene.wait_for_results(5)
    assert engine.passes == [2, 2]


def test_a_task_that_cannot_be_done_does_not_hurt_its_neighbours(
    scene: Scene, engine: Gate
) -> None:
    engine.failures["bad"] = [TaskFailure("unsupported-request", "no") for _ in range(2)]
    _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in ("a", "bad", "c")])
    results = scene.wait_for_results(4)
    assert sorted(result.status for result in results) == ["failed", *["succeeded"] * 3]
    assert engine.passes == [3, 1, 1, 1]
    # One of them was to blame, not their number.
    _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in "efg"])
    scene.wait_for_results(4)
    assert engine.passes == [3]


def test_a_cancelled_task_leaves_the_pass_to_the_others(scene: Scene, engine: Gate) -> None:
    tasks = _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in ("a", "hold", "c")])
    (gate,) = scene.wait_for_results(1)
    scene.cancel(tasks[1])
    time.sleep(0.5)
    # The engine was not told to stop, since the others want their pictures.
    assert not engine.cancelled
    engine.let_go.set()
    results = {result.task_id: result.status for result in [gate, *scene.wait_for_results(3)]}
    assert [results[task.task_id] for task in tasks] == ["succeeded", "cancelled", "succeeded"]
    assert engine.passes == [3]


def test_a_pass_that_nobody_wants_any_more_is_stopped(scene: Scene, engine: Gate) -> None:
    tasks = _draw_behind_the_gate(scene, engine, [{"prompt": each} for each in ("a", "hold")])
    scene.wait_for_results(1)
    for task in tasks:
        scene.cancel(task)
    assert [result.status for result in scene.wait_for_results(2)] == ["cancelled"] * 2
    assert engine.cancelled
    assert engine.passes == [2]
    wait_until(lambda: scene.left() == (0, 0), "both messages are deleted")


def test_a_lone_task_begins_at_once(scene: Scene, run: Run) -> None:
    run(batch_tasks=8)
    wait_until(ready(scene), "the agent is ready")
    began = time.monotonic()
    scene.send(prompt="sleep 0.1")
    (result,) = scene.wait_for_results(1)
    assert time.monotonic() - began < 1
    assert result.timings.waiting_seconds < 0.5


@pytest.mark.slow
def test_a_real_agent_makes_fewer_passes_and_survives_a_poison_task(scene: Scene, run: Run) -> None:
    """The engine's process dies of one task, in company first and then alone, for good."""
    agent = run(batch_tasks=4, max_receive_count=1)
    wait_until(ready(scene), "the agent is ready")
    tasks = [scene.send(prompt="sleep 0.6") for _ in range(2)]
    tasks += [scene.send(prompt=prompt) for prompt in ("sleep 0.2", "die", "sleep 0.2")]
    results = {result.task_id: result for result in scene.wait_for_results(5)}
    assert set(results) == {task.task_id for task in tasks}
    assert [results[task.task_id].status for task in tasks] == [
        *["succeeded"] * 3,
        "failed",
        "succeeded",
    ]
    assert {result.attempt for result in results.values()} == {1}
    assert log(scene).count("tasks failed together") == 1
    assert '"together": ' in log(scene)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert scene.left() == (0, 0)


def test_what_was_interrupted_is_alone_the_next_time(scene: Scene, run: Run) -> None:
    tasks = [scene.send(prompt="sleep 0.3") for _ in range(3)]
    # Each was taken once by an agent that was killed.
    for _ in tasks:
        taken = scene.sqs.receive_message(QueueUrl=scene.queue, VisibilityTimeout=1)["Messages"]
        assert len(taken) == 1
    wait_until(lambda: scene.left() == (3, 0), "they are back")
    run(batch_tasks=4)
    results = scene.wait_for_results(3)
    assert {result.attempt for result in results} == {2}
    assert '"together": ' not in log(scene)


@pytest.mark.slow
def test_a_drain_gives_back_every_task_of_a_pass_and_it_costs_no_try(
    scene: Scene, run: Run
) -> None:
    agent = run(batch_tasks=4, drain_seconds=1, max_receive_count=1)
    wait_until(ready(scene), "the agent is ready")
    for prompt in ("sleep 0.1", "sleep 2", *["sleep 4"] * 3):
        scene.send(prompt=prompt)
    wait_until(lambda: '"together": ' in log(scene), "some are begun together")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(5) == 0
    waiting, taken = scene.left()
    assert (waiting >= 2, taken) == (True, 0)
    assert len(scene.wait_for_results(5 - waiting)) == 5 - waiting
    assert len([key for key in scene.keys() if key.startswith(RETURNED_PREFIX)]) == waiting


def test_the_model_of_what_is_in_hand_is_read_ahead(scene: Scene, engine: Gate) -> None:
    scene.publish_model("next", {**FILES, "more.safetensors": b"more"})
    engine.opened.clear()
    scene.send(prompt="gate")
    wait_until(lambda: len(engine.generations) == 1, "the gate is begun")
    scene.send(prompt="b", model="next")
    wait_until(lambda: "next" in engine.warmed, "it is read while the other is drawn")
    assert "next" not in engine.loads
    engine.opened.set()
    scene.wait_for_results(2)
    assert engine.loads == [MODEL, "next"]
