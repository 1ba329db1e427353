"""Tasks that their clients cancel, and tasks that tell how far they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cdk_stable_diffusion.contract import ResultMessage, TaskProgress
from cdk_stable_diffusion.runtime_image.agent import service, watch
from cdk_stable_diffusion.runtime_image.agent.aws import Clients
from cdk_stable_diffusion.runtime_image.agent.engine import (
    Drawing,
    EngineCancelled,
    Generation,
    ModelDirectory,
    OnStep,
)
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.leases import Leases
from cdk_stable_diffusion.runtime_image.agent.progress import Progress
from cdk_stable_diffusion.runtime_image.agent.retry import Backoff
from cdk_stable_diffusion.runtime_image.agent.returns import Returns
from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.agent.signals import Signals
from cdk_stable_diffusion.runtime_image.agent.task_queue import Received, TaskQueue
from cdk_stable_diffusion.runtime_image.agent.watch import Watch
from cdk_stable_diffusion.runtime_image.agent.work import Work
from tests.agent.fake_engine import FakeEngine
from tests.agent.scene import Scene, wait_until

QUICK = Backoff(first_seconds=0.02, longest_seconds=0.1, total_seconds=0.5)
STEP_SECONDS = 0.02


class SteppingEngine(FakeEngine):
    """Takes its time step by step, and stops after the step in which it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = 5
        self.done: list[int] = []
        self.told_at: list[int] = []
        self.deaf = False
        self._generating = False

    def generate(
        self, generation: Generation, *, timeout: float, on_step: OnStep | None = None
    ) -> Drawing:
        self.told_at.clear()
        self.done.append(0)
        self._generating = True
        try:
            for step in range(1, self.steps + 1):
                time.sleep(STEP_SECONDS)
                self.done[-1] = step
                if self.told_at and not self.deaf:
                    self.generations.append(generation)
                    raise EngineCancelled
                if on_step is not None:
                    on_step(step, self.steps)
        finally:
            self._generating = False
        return super().generate(generation, timeout=timeout)

    def cancel(self) -> None:
        if self._generating:
            self.told_at.append(self.done[-1])


Start = Callable[..., SteppingEngine]


@pytest.fixture
def start(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an agent that looks often, and end it after the test."""
    monkeypatch.setattr(service, "_POLL_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.1)
    agents: list[Agent] = []
    scene.publish_model()

    def start(
        *, clients: Clients | None = None, on_load: Callable[[ModelDirectory], None] | None = None
    ) -> SteppingEngine:
        engine = SteppingEngine()
        engine.on_load = on_load
        agent = Agent(scene.environment, engine, clients or scene.clients(), backoff=QUICK)
        agent.start()
        agents.append(agent)
        return engine

    yield start
    for agent in agents:
        agent.shutdown.request(0.5)
        agent.drain(Signals())


def spoilt(scene: Scene, operation: str, spoil: Callable[[], None]) -> Clients:
    """Return clients whose S3 does something first in an operation."""
    clients = scene.clients()
    clients.s3.meta.events.register(f"provide-client-params.s3.{operation}", lambda **_: spoil())
    return clients


def fail() -> None:
    raise ConnectionError("S3 is away")


def cancelled_result(scene: Scene) -> ResultMessage:
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.images, result.error) == ("cancelled", (), None)
    assert result.parameters is None
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert scene.left(scene.dead_letters) == (0, 0)
    return result


def test_a_task_that_is_cancelled_while_it_waits_is_never_begun(scene: Scene, start: Start) -> None:
    task = scene.task(output_prefix="shop/7", context={"order": 1})
    scene.cancel(task)
    scene.send_again(task)
    engine = start()
    result = cancelled_result(scene)
    assert (result.task_id, result.context, result.attempt) == (task.task_id, {"order": 1}, 1)
    assert result.timings.generating_seconds == 0
    assert (engine.done, engine.loads) == ([], [])
    folder = f"shop/7/{task.task_id}"
    assert scene.keys() == [f"{folder}/cancel.json", f"{folder}/result.json"]
    assert ResultMessage.from_json(scene.read(f"{folder}/result.json").decode()) == result


def test_a_cancelled_task_that_comes_again_finds_its_result(scene: Scene, start: Start) -> None:
    # As it does where its client sends the request again with the same idempotency key.
    task = scene.task(idempotency_key="order-1")
    scene.cancel(task)
    engine = start()
    scene.send_again(task)
    first = cancelled_result(scene)
    scene.send_again(task)
    assert cancelled_result(scene) == first
    assert engine.done == []


def test_a_running_task_stops_within_one_step_and_the_next_one_runs(
    scene: Scene, start: Start
) -> None:
    engine = start()
    engine.steps = 1_000
    task = scene.send()
    wait_until(lambda: bool(engine.done and engine.done[-1]), "it runs")
    scene.cancel(task)
    result = cancelled_result(scene)
    assert result.task_id == task.task_id
    assert 0 <= engine.done[0] - engine.told_at[0] <= 1
    assert result.timings.generating_seconds > 0
    engine.steps = 5
    next_one = scene.send()
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status) == (next_one.task_id, "succeeded")
    assert engine.done[1:] == [5]


def test_a_task_in_hand_is_cancelled_before_it_begins(scene: Scene, start: Start) -> None:
    engine = start()
    engine.steps = 25
    scene.send()
    scene.wait_for_results(1)
    running = scene.send()
    wait_until(lambda: len(engine.done) == 2, "another one runs")
    held = scene.send()
    wait_until(lambda: scene.left() == (0, 2), "the next one is in hand")
    scene.cancel(held)
    statuses = {result.task_id: result.status for result in scene.wait_for_results(2)}
    assert statuses == {running.task_id: "succeeded", held.task_id: "cancelled"}
    assert engine.done == [25, 25]


def test_a_task_that_is_cancelled_while_its_model_loads_is_not_drawn(
    scene: Scene, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    task = scene.task()

    def load(_: ModelDirectory) -> None:
        scene.cancel(task)
        wait_until(lambda: "is to be cancelled" in caplog.text, "the wish is heard")

    engine = start(on_load=load)
    scene.send_again(task)
    cancelled_result(scene)
    assert engine.done == []


def test_what_is_drawn_before_the_wish_takes_hold_stands(
    scene: Scene, start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    engine = start()
    engine.deaf = True
    engine.steps = 25
    task = scene.send()
    wait_until(lambda: bool(engine.done), "it runs")
    scene.cancel(task)
    (result,) = scene.wait_for_results(1)
    assert "is to be cancelled" in caplog.text
    assert (result.status, len(result.images)) == ("succeeded", 1)
    assert scene.stored_result(task)["status"] == "succeeded"


@pytest.mark.parametrize(("transient", "status"), [(True, "cancelled"), (False, "failed")])
def test_a_failure_stands_unless_it_asks_for_another_try(
    scene: Scene, start: Start, caplog: pytest.LogCaptureFixture, transient: bool, status: str
) -> None:
    caplog.set_level("INFO")
    engine = start()
    engine.deaf = True
    task = scene.task()

    def draw(_: Generation) -> None:
        scene.cancel(task)
        wait_until(lambda: "is to be cancelled" in caplog.text, "the wish is heard")
        raise TaskFailure("out-of-memory", "too large", transient=transient)

    engine.action = draw
    scene.send_again(task)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == (status, 1)
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")


def test_a_look_that_hangs_does_no_harm(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LONGEST_FIRST_LOOK_SECONDS", 0.1)
    hangs = threading.Event()

    def hang() -> None:
        hangs.wait(20)

    engine = start(clients=spoilt(scene, "HeadObject", hang))
    for _ in range(6):
        # More than there are looks at once.
        scene.send()
    try:
        statuses = {result.status for result in scene.wait_for_results(6, seconds=15)}
    finally:
        hangs.set()
    assert statuses == {"succeeded"}
    assert len(engine.done) == 6


def test_a_look_goes_beside_the_look_for_a_result(scene: Scene, start: Start) -> None:
    looks = threading.Event()
    together: list[bool] = []

    def look_for_result(params: dict[str, Any], **_: Any) -> None:
        if params["Key"].endswith("result.json"):
            together.append(looks.wait(5))

    clients = spoilt(scene, "HeadObject", looks.set)
    clients.s3.meta.events.register("provide-client-params.s3.GetObject", look_for_result)
    start(clients=clients)
    scene.send()
    scene.wait_for_results(1)
    assert together == [True]


def test_a_lost_look_is_made_up_for(scene: Scene, start: Start) -> None:
    failures = iter([True, True])
    clients = spoilt(scene, "HeadObject", lambda: fail() if next(failures, False) else None)
    engine = start(clients=clients)
    engine.steps = 1_000
    task = scene.task()
    scene.cancel(task)
    scene.send_again(task)
    cancelled_result(scene)
    assert len(engine.done) == 1


def reports(scene: Scene, key: str) -> TaskProgress | None:
    return TaskProgress.from_json(scene.read(key).decode()) if key in scene.keys() else None


def test_a_task_that_takes_long_tells_how_far_it_is(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "REPORT_EVERY", timedelta(seconds=0.3))
    monkeypatch.setattr(watch, "_TICK_SECONDS", 0.05)
    engine = start()
    engine.steps = 60
    task = scene.send(output_prefix="shop")
    key = f"shop/{task.task_id}/progress.json"
    wait_until(lambda: reports(scene, key) is not None, "it says something")
    first = reports(scene, key)
    assert first is not None and first.step is not None
    assert (first.task_id, first.status, first.attempt) == (task.task_id, "running", 1)
    assert (first.model, first.runtime, first.steps) == ("shapes", "shapes-runtime", 60)
    assert 5 <= first.step <= 59
    wait_until(lambda: (reports(scene, key) or first).step != first.step, "it says more")
    scene.wait_for_results(1)
    second = reports(scene, key)
    assert second is not None and second.step is not None
    assert second.step > first.step
    assert first.updated_at is not None and second.updated_at is not None
    assert first.started_at == second.started_at
    assert first.updated_at < second.updated_at


# The watch by itself


class FakeOutputs:
    """Says which tasks are cancelled."""

    def __init__(self) -> None:
        self.cancelled: set[str] = set()

    def is_cancelled(self, task: Any) -> bool:
        return task.task_id in self.cancelled

    def put_progress(self, task: Any, progress: TaskProgress) -> None:
        raise AssertionError("nothing here takes long")


def watch_over(outputs: FakeOutputs, leases: Leases, stop_engine: Callable[[], None]) -> Watch:
    return Watch(
        outputs=outputs,  # type: ignore[arg-type]
        leases=leases,
        progress=Progress(),
        stop_engine=stop_engine,
        runtime_name="shapes-runtime",
    )


def work_in_hand(scene: Scene, leases: Leases) -> Work:
    task = scene.task()
    message = Received(
        message_id=task.task_id,
        receipt=task.task_id,
        body=task.to_json(),
        receive_count=1,
        attributes={},
    )
    leases.hold(message)
    return Work(message, task)


@pytest.fixture
def watched(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Watch, FakeOutputs, Leases, list[float]]]:
    """A watch with what it looks at, and when it stopped the engine."""
    monkeypatch.setattr(watch, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(watch, "_TICK_SECONDS", 0.01)
    queue = TaskQueue(None, queue_urls=("",), dead_letter_queue_url="", lease_seconds=60)
    outputs, leases, stops = FakeOutputs(), Leases(queue, lease_seconds=60), list[float]()
    watching = watch_over(outputs, leases, lambda: stops.append(time.monotonic()))
    watching.start()
    yield watching, outputs, leases, stops
    watching.stop()


Watched = tuple[Watch, FakeOutputs, Leases, list[float]]


def test_a_task_that_waits_for_the_gpu_is_looked_for_before_its_turn_and_not_sooner(
    scene: Scene, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, outputs, leases, stops = watched
    monkeypatch.setattr(watch, "LOOK_SECONDS", 60.0)
    monkeypatch.setattr(watch, "_BEFORE_ITS_TURN_SECONDS", 0.3)
    watching._progress = SimpleNamespace(remaining=lambda: 0.6)  # type: ignore[assignment]
    work = work_in_hand(scene, leases)
    outputs.cancelled.add(work.task.task_id)
    began = time.monotonic()
    watching.begin(work)
    assert not watching.is_cancelled(work)
    wait_until(lambda: work.cancelled, "the wish is heard")
    assert time.monotonic() - began >= 0.29
    assert stops == []


def test_a_task_whose_turn_comes_unexpectedly_is_looked_for_at_once(
    scene: Scene, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watching, outputs, leases, stops = watched
    monkeypatch.setattr(watch, "LOOK_SECONDS", 60.0)
    watching._progress = SimpleNamespace(remaining=lambda: 50.0)  # type: ignore[assignment]
    work = work_in_hand(scene, leases)
    outputs.cancelled.add(work.task.task_id)
    watching.begin(work)
    with watching.running(work):
        wait_until(lambda: bool(stops), "the engine is told")


def test_the_engine_is_never_stopped_in_another_task(scene: Scene, watched: Watched) -> None:
    watching, outputs, leases, stops = watched
    one, other = work_in_hand(scene, leases), work_in_hand(scene, leases)
    for work in (one, other):
        watching.begin(work)
        assert not watching.is_cancelled(work)
    with watching.running(one):
        outputs.cancelled.add(one.task.task_id)
        wait_until(lambda: len(stops) > 1, "the engine is told again and again")
    with watching.running(other):
        told = len(stops)
        time.sleep(0.1)
        assert len(stops) == told


def test_tasks_that_run_together_are_stopped_together(scene: Scene, watched: Watched) -> None:
    watching, outputs, leases, stops = watched
    works = [work_in_hand(scene, leases) for _ in range(2)]
    for work in works:
        watching.begin(work)
    with watching.running(*works):
        outputs.cancelled.add(works[0].task.task_id)
        wait_until(lambda: works[0].cancelled, "the first wish is heard")
        time.sleep(0.05)
        assert stops == []
        outputs.cancelled.add(works[1].task.task_id)
        wait_until(lambda: bool(stops), "the engine is told")


def test_a_task_that_is_in_hand_no_more_is_not_watched(scene: Scene, watched: Watched) -> None:
    watching, outputs, leases, _ = watched
    work = work_in_hand(scene, leases)
    watching.begin(work)
    assert leases.end(work.message)
    wait_until(lambda: not watching._watched, "it is forgotten")
    outputs.cancelled.add(work.task.task_id)
    time.sleep(0.1)
    assert not work.cancelled


def test_a_task_that_comes_while_the_watch_looks_around_is_watched(scene: Scene) -> None:
    arrived = threading.Event()

    class Late(Leases):
        """One more message comes when it has told what is in hand."""

        def held(self) -> list[Received]:
            held = super().held()
            thread.start()
            # A watch that lets nobody in meanwhile has its answer before.
            arrived.wait(0.2)
            return held

    def arrive() -> None:
        work.append(work_in_hand(scene, leases))
        watching.begin(work[0])
        arrived.set()

    queue = TaskQueue(None, queue_urls=("",), dead_letter_queue_url="", lease_seconds=60)
    outputs, leases, work = FakeOutputs(), Late(queue, lease_seconds=60), list[Work]()
    watching = watch_over(outputs, leases, lambda: None)
    thread = threading.Thread(target=arrive)
    watching._turn()
    thread.join()
    assert work[0].message.receipt in watching._watched
    watching.stop()


# What is noted of messages that were given back


def test_what_was_noted_of_a_message_goes_with_it(scene: Scene) -> None:
    queue = TaskQueue(
        scene.sqs,
        queue_urls=(scene.queue,),
        dead_letter_queue_url=scene.dead_letters,
        lease_seconds=20,
    )
    leases = Leases(queue, lease_seconds=20)
    returns = Returns(queue, leases, scene.s3, scene.output_bucket, max_tries=2)
    scene.send()
    for count in (1, 2, 3):
        message = queue.receive(scene.sqs)
        assert message is not None and message.receive_count == count
        assert returns.tries(message) == 1
        leases.hold(message)
        returns.give_back([message])
        assert scene.keys() == [f".returned/{message.message_id}"]
    message = queue.receive(scene.sqs)
    assert message is not None
    returns.forget(message)
    assert scene.keys() == []
