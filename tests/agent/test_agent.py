"""The agent on an emulated AWS, with an engine that needs no model."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from cdk_stable_diffusion.contract import AgentEnvironment, TaskError
from cdk_stable_diffusion.contract.environment import MOST_RETURNS
from cdk_stable_diffusion.contract.keys import RETURNED_PREFIX
from cdk_stable_diffusion.runtime_image.agent import model_source, service
from cdk_stable_diffusion.runtime_image.agent.aws import Clients
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from cdk_stable_diffusion.runtime_image.agent.engine import Generation, ModelDirectory
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.retry import Backoff
from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.agent.signals import Signals
from tests.agent.agent_process import STAND_IN
from tests.agent.fake_engine import FakeEngine
from tests.agent.scene import FILES, MODEL, Scene, wait_until

Start = Callable[..., FakeEngine]
QUICK = Backoff(first_seconds=0.02, longest_seconds=0.1, total_seconds=0.5, away_seconds=0.5)


@pytest.fixture
def start(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start agents, and end them after the test."""
    # Nobody sends anything any more when these agents end.
    monkeypatch.setattr(service, "_POLL_GRACE_SECONDS", 0.01)
    agents: list[Agent] = []
    scene.publish_model()

    def start(
        action: Callable[[Generation], None] | None = None,
        *,
        environment: AgentEnvironment | None = None,
        clients: Clients | None = None,
        on_load: Callable[[ModelDirectory], None] | None = None,
    ) -> FakeEngine:
        engine = FakeEngine(action)
        engine.on_load = on_load
        agent = Agent(
            environment or scene.environment, engine, clients or scene.clients(), backoff=QUICK
        )
        agent.start()
        agents.append(agent)
        return engine

    yield start
    for agent in agents:
        agent.shutdown.request(0.5)
        agent.drain(Signals())


def _failing(client: Any, operation: str, errors: list[Exception | None]) -> Any:
    """Make a client's operation fail with these errors, one a call; None lets a call through."""

    def before_send(**_: Any) -> None:
        error = errors.pop(0) if errors else None
        if error is not None:
            raise error

    service = client.meta.service_model.service_id.hyphenize()
    client.meta.events.register(f"provide-client-params.{service}.{operation}", before_send)
    return client


def _refusal(status: int, code: str) -> ClientError:
    return ClientError(
        {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item]
        "Operation",
    )


def test_a_task_becomes_pictures_and_a_result(scene: Scene, start: Start) -> None:
    engine = start()
    task = scene.send(num_images=2, seed=7, context={"order": [1, "zwei"]}, output_prefix="shop")
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.task_id, result.attempt) == ("succeeded", task.task_id, 1)
    assert result.context == {"order": [1, "zwei"]}
    assert (result.runtime, result.runtime_class) == ("shapes-runtime", "dynamic")
    assert result.parameters is not None
    assert (result.parameters.steps, result.parameters.guidance_scale) == (8, 3.0)
    folder = f"shop/{task.task_id}"
    assert scene.keys() == [f"{folder}/00.png", f"{folder}/01.png", f"{folder}/result.json"]
    for index, image in enumerate(result.images):
        data = scene.read(image.key)
        assert image.sha256 == hashlib.sha256(data).hexdigest()
        assert (image.size_bytes, image.seed) == (len(data), 7 + index)
        assert Image.open(io.BytesIO(data)).size == (image.width, image.height) == (64, 64)
    assert json.loads(scene.read(f"{folder}/result.json")) == result.to_dict()
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert engine.loads == [MODEL]


def test_what_the_request_says_wins_over_the_models_defaults(scene: Scene, start: Start) -> None:
    engine = start()
    scene.send(steps=3, guidance_scale=0.0, width=128, height=72, scheduler="euler")
    (result,) = scene.wait_for_results(1)
    (generation,) = engine.generations
    assert (generation.steps, generation.guidance_scale) == (3, 0.0)
    assert (generation.width, generation.height, generation.scheduler) == (128, 72, "euler")
    assert result.parameters is not None and result.parameters.scheduler == "euler"


def test_a_task_that_has_a_result_is_announced_again_and_not_drawn(
    scene: Scene, start: Start
) -> None:
    engine = start()
    task = scene.send()
    (first,) = scene.wait_for_results(1)
    scene.send_again(task)
    (second,) = scene.wait_for_results(1)
    assert second == first
    assert len(engine.generations) == 1
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")


def test_the_same_task_in_two_hands_has_one_result(scene: Scene, start: Start) -> None:
    together = threading.Barrier(2)
    start(lambda _: together.wait(10) and None)
    start(lambda _: together.wait(10) and None)
    task = scene.task()
    scene.send_again(task)
    scene.send_again(task)
    first, second = scene.wait_for_results(2)
    assert first == second
    assert scene.stored_result(task) == first.to_dict()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not JSON", "not JSON"),
        ("{}", "/task_id: is missing"),
        ('{"version": "99"}', "/version"),
        ("[1]", "must be a JSON object"),
        ('{"version": "1", "version": "1"}', "twice"),
    ],
)
def test_what_is_not_a_task_goes_to_the_dead_letters_with_the_reason(
    scene: Scene, start: Start, text: str, reason: str
) -> None:
    start()
    scene.send_text(text)
    letter = scene.wait_for_dead_letter()
    assert letter["Body"] == text
    attributes = {name: each["StringValue"] for name, each in letter["MessageAttributes"].items()}
    assert attributes["error_code"] == "invalid-message"
    assert reason in attributes["error_detail"]
    scene.send()
    scene.wait_for_results(1)
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")


def test_a_failure_for_good_is_a_result_and_ends_the_task(scene: Scene, start: Start) -> None:
    def refuse(_: Generation) -> None:
        raise TaskFailure("unsupported-request", "the model cannot do that")

    engine = start(refuse)
    task = scene.send(context="mine")
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.images, result.context) == ("failed", (), "mine")
    assert result.error is not None
    assert (result.error.code, result.error.detail) == (
        "unsupported-request",
        "the model cannot do that",
    )
    assert scene.stored_result(task) == result.to_dict()
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert scene.left(scene.dead_letters) == (0, 0)
    assert len(engine.generations) == 1


def test_a_passing_failure_is_tried_again(scene: Scene, start: Start) -> None:
    failures = [TaskFailure("out-of-memory", "once", transient=True)]

    def fail_once(_: Generation) -> None:
        if failures:
            raise failures.pop()

    start(fail_once)
    scene.send()
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 2)
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.parametrize("known", [True, False])
def test_a_failure_that_stays_is_a_result_and_a_dead_letter(
    scene: Scene, start: Start, known: bool
) -> None:
    def fail(_: Generation) -> None:
        if known:
            raise TaskFailure("out-of-memory", "always\x00", transient=True)
        raise RuntimeError("a fault of the agent's own")

    engine = start(fail)
    task = scene.send()
    (result,) = scene.wait_for_results(1)
    assert result.error is not None and result.attempt == 2
    assert result.error.code == ("out-of-memory" if known else "generation-failed")
    letter = scene.wait_for_dead_letter()
    assert letter["Body"] == task.to_json()
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == result.error.code
    assert letter["MessageAttributes"]["model"]["StringValue"] == MODEL
    assert len(engine.generations) == 2
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")


def test_a_task_sent_back_from_the_dead_letters_is_tried_again(scene: Scene, start: Start) -> None:
    broken = True

    def fail(_: Generation) -> None:
        if broken:
            raise TaskFailure("unsupported-request", "not yet")

    engine = start(fail)
    task = scene.send()
    assert scene.wait_for_results(1)[0].status == "failed"
    broken = False
    scene.send_again(task)
    assert scene.wait_for_results(1)[0].status == "failed"
    scene.send_again(task, error_code="unsupported-request", error_detail="not yet")
    (result,) = scene.wait_for_results(1)
    assert result.status == "succeeded"
    assert scene.stored_result(task) == result.to_dict()
    assert len(engine.generations) == 2


@pytest.mark.parametrize(
    ("model", "code"), [("nowhere", "model-not-found"), ("pickled", "model-invalid")]
)
def test_a_model_that_cannot_be_used_fails_the_task_by_name(
    scene: Scene, start: Start, model: str, code: str
) -> None:
    scene.publish_model(
        "pickled", {"model_index.json": b"{}", "unet/diffusion_pytorch_model.bin": b"pickle"}
    )
    engine = start()
    scene.send(model=model)
    (result,) = scene.wait_for_results(1)
    assert result.error is not None
    assert result.error.code == code
    assert model in result.error.detail
    assert not engine.loads


def test_a_poisonous_task_does_not_stop_the_others(scene: Scene, start: Start) -> None:
    def fail(generation: Generation) -> None:
        if generation.prompt == "poison":
            raise TaskFailure("generation-failed", "the engine ended", transient=True)

    start(fail)
    tasks = [scene.send(prompt="poison" if n == 3 else f"good {n}") for n in range(12)]
    scene.send_text("not a task")
    results = {result.task_id: result for result in scene.wait_for_results(12)}
    assert set(results) == {task.task_id for task in tasks}
    failed = [task for task in tasks if results[task.task_id].status == "failed"]
    assert failed == [tasks[3]]
    wait_until(lambda: scene.left(scene.dead_letters)[0] == 2, "two dead letters")
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")


@pytest.mark.parametrize(
    ("service", "operation"),
    [("s3", "PutObject"), ("s3", "GetObject"), ("sns", "Publish"), ("sqs", "DeleteMessage")],
)
def test_a_call_that_fails_is_repeated_without_drawing_again(
    scene: Scene, start: Start, service: str, operation: str
) -> None:
    clients = scene.clients()
    errors: list[Exception | None] = [_refusal(503, "SlowDown"), ConnectionError("reset")]
    _failing(getattr(clients, service), operation, errors)
    engine = start(clients=clients)
    scene.send()
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 1)
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert not errors
    assert len(engine.generations) == 1


def test_a_result_that_was_announced_but_not_deleted_is_not_drawn_again(
    scene: Scene, start: Start
) -> None:
    clients = scene.clients()
    # As many as the agent tries, and then some.
    _failing(clients.sqs, "DeleteMessage", [ConnectionError("reset")] * 100)
    engine = start(clients=clients, environment=scene.with_settings(lease_seconds=1))
    scene.send()
    first, second = scene.wait_for_results(2)
    assert first.to_dict() == second.to_dict()
    assert len(engine.generations) == 1


def test_a_bucket_that_says_no_fails_the_task_and_keeps_it_for_later(
    scene: Scene, start: Start
) -> None:
    clients = scene.clients()
    _failing(clients.s3, "PutObject", [_refusal(403, "AccessDenied")] * 100)
    engine = start(clients=clients)
    task = scene.send()
    (result,) = scene.wait_for_results(1)
    assert result.error is not None and result.error.code == "output-failed"
    assert scene.wait_for_dead_letter()["Body"] == task.to_json()
    assert len(engine.generations) == 1


def test_delivering_overlaps_with_the_next_generation(scene: Scene, start: Start) -> None:
    """The second task's generation waits for the first one's delivery to have been seen open."""
    delivering, drawn = threading.Event(), threading.Event()
    clients = scene.clients()

    def hold_first_picture(**_: Any) -> None:
        if not delivering.is_set():
            delivering.set()
            assert drawn.wait(10), "the next task was not drawn meanwhile"

    clients.s3.meta.events.register("provide-client-params.s3.PutObject", hold_first_picture)

    def second_is_drawn(generation: Generation) -> None:
        if generation.prompt == "second":
            assert delivering.wait(10)
            drawn.set()

    start(second_is_drawn, clients=clients)
    scene.send(prompt="first")
    scene.send(prompt="second")
    assert [result.status for result in scene.wait_for_results(2)] == ["succeeded"] * 2


def test_a_task_longer_than_its_lease_runs_once(scene: Scene, start: Start) -> None:
    environment = scene.with_settings(lease_seconds=1)
    engines = [start(lambda _: time.sleep(3.2), environment=environment)]
    scene.send()
    wait_until(lambda: bool(engines[0].generations), "the first agent has it")
    engines.append(start(environment=environment))
    (result,) = scene.wait_for_results(1)
    assert result.attempt == 1
    assert [len(engine.generations) for engine in engines] == [1, 0]


def test_the_lease_is_kept_while_the_model_loads(scene: Scene, start: Start) -> None:
    environment = scene.with_settings(lease_seconds=1)
    start(environment=environment, on_load=lambda _: time.sleep(2.5))
    scene.send()
    (result,) = scene.wait_for_results(1)
    assert result.attempt == 1
    assert result.timings.loading_seconds >= 2.5


def test_a_static_agent_loads_and_draws_once_before_it_takes_anything(
    scene: Scene, start: Start
) -> None:
    environment = scene.with_settings(runtime_class="static", models=(MODEL, "later"))
    seen: list[tuple[int, list[str]]] = []
    engine = FakeEngine()

    def note(_: Generation) -> None:
        seen.append((engine.warm_ups, list(engine.loads)))

    engine.action = note
    scene.send()
    agent = Agent(environment, engine, scene.clients(), backoff=QUICK)
    agent.start()
    try:
        wait_until(lambda: scene.left() == (1, 0), "the task is left alone")
        assert not agent.worker.ready
        scene.publish_model("later")
        (result,) = scene.wait_for_results(1)
        assert agent.worker.ready
    finally:
        agent.drain(Signals())
    assert seen == [(1, [MODEL])]
    assert result.timings.loading_seconds == 0
    assert not agent.worker.ready


def test_a_model_that_draws_from_no_prompt_alone_is_used_without_a_warm_up(scene: Scene) -> None:
    def refuse() -> None:
        raise TaskFailure("unsupported-request", "the model is an upscaler")

    environment = scene.with_settings(runtime_class="static", models=(MODEL,))
    engine = FakeEngine()
    engine.on_warm_up = refuse
    scene.publish_model(MODEL)
    scene.send()
    agent = Agent(environment, engine, scene.clients(), backoff=QUICK)
    agent.start()
    try:
        (result,) = scene.wait_for_results(1)
    finally:
        agent.drain(Signals())
    assert (result.status, engine.warm_ups, engine.loads) == ("succeeded", 1, [MODEL])


def test_models_are_switched_and_timed(scene: Scene, start: Start) -> None:
    scene.publish_model("other", {"model_index.json": b"{}", "x.safetensors": b"other"})
    engine = start()
    for model in (MODEL, "other", "other", MODEL):
        scene.send(model=model)
        scene.wait_for_results(1)
    assert engine.loads == [MODEL, "other", MODEL]


def test_a_drain_gives_back_what_does_not_fit(scene: Scene) -> None:
    scene.publish_model()
    engine = FakeEngine()

    def wait(_: Generation) -> None:
        engine.closed.wait(30)

    engine.action = wait
    environment = replace(scene.environment, drain_seconds=1)
    agent = Agent(environment, engine, scene.clients(), backoff=QUICK)
    agent.start()
    scene.send()
    wait_until(lambda: bool(engine.generations), "the task is begun")
    scene.send(prompt="waiting")
    began = time.monotonic()
    agent.drain(Signals())
    assert time.monotonic() - began < 3
    assert scene.left() == (2, 0)
    assert len(engine.generations) == 1
    assert not scene.more_results()


def test_a_drain_does_not_wait_for_what_a_task_has_to_fetch(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = Agent(scene.environment, FakeEngine(), scene.clients(), backoff=QUICK)
    asked, drained = threading.Event(), threading.Event()

    def resolve(_: object) -> dict[str, bytes]:
        asked.set()
        drained.wait(20)
        raise TaskFailure("input-invalid", "image is no picture")

    monkeypatch.setattr(agent._intake._inputs, "resolve", resolve)
    agent.start()
    scene.send()
    assert asked.wait(5)
    began = time.monotonic()
    agent.drain(Signals())
    assert time.monotonic() - began < 5
    assert scene.left() == (1, 0)
    drained.set()
    agent._intake._thread.join(5)
    assert scene.left() == (1, 0)
    assert not scene.more_results()


def test_a_model_damaged_on_disk_is_brought_again(scene: Scene, start: Start) -> None:
    start()
    scene.send()
    scene.wait_for_results(1)
    (path,) = (scene.directory / "models" / "models").glob("*/unet/weights.safetensors")
    path.write_bytes(b"short")
    scene.send()
    (result,) = scene.wait_for_results(1)
    assert result.status == "succeeded"
    assert path.read_bytes() == FILES["unet/weights.safetensors"]


def test_a_model_whose_files_were_replaced_needs_no_room_beside_the_old_ones(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_source, "_MANIFEST_SECONDS", 0.0)
    engine = start(environment=scene.with_settings(model_cache_bytes=10_000))
    scene.send()
    scene.wait_for_results(1)
    scene.publish_model(files={**FILES, "unet/weights.safetensors": b"renewed" * 1000})
    scene.send()
    (result,) = scene.wait_for_results(1)
    assert result.status == "succeeded"
    assert engine.loads == [MODEL, MODEL]


def test_an_engine_that_imports_for_long_is_used_as_soon_as_it_is_ready(
    scene: Scene, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = iter([False] * 8)
    monkeypatch.setattr(FakeEngine, "wait_until_ready", lambda *_: next(waits, True))
    start()
    scene.send()
    assert scene.wait_for_results(1)[0].status == "succeeded"


def test_a_task_of_a_time_that_does_not_exist_is_refused_before_it_is_drawn(
    scene: Scene, start: Start
) -> None:
    engine = start()
    scene.send_again(replace(scene.task(), submitted_at="2026-02-30T12:00:00.000Z"))
    letter = scene.wait_for_dead_letter()
    assert letter["MessageAttributes"]["error_code"]["StringValue"] == "invalid-message"
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert not engine.generations


def test_a_stored_result_that_is_no_text_is_as_good_as_none(scene: Scene, start: Start) -> None:
    start()
    task = scene.task()
    key = f"{task.task_id}/result.json"
    scene.s3.put_object(Bucket=scene.output_bucket, Key=key, Body=b"\xff\xfe")
    scene.send_again(task)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 1)
    assert scene.stored_result(task) == result.to_dict()


def test_a_deletion_that_fails_makes_no_second_dead_letter(scene: Scene, start: Start) -> None:
    clients = scene.clients()
    _failing(clients.sqs, "DeleteMessage", [ConnectionError("reset")] * 2)
    start(clients=clients)
    scene.send_text("not a task")
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert scene.left(scene.dead_letters) == (1, 0)


def test_a_success_whose_message_cannot_be_deleted_is_no_failure(
    scene: Scene, start: Start
) -> None:
    clients = scene.clients()
    released = threading.Event()
    clients.sqs.meta.events.register(
        "provide-client-params.sqs.ChangeMessageVisibility", lambda **_: released.set()
    )
    _failing(clients.sqs, "DeleteMessage", [_refusal(403, "AccessDenied")] * 100)
    start(clients=clients, environment=scene.with_settings(max_receive_count=1))
    scene.send()
    assert scene.wait_for_results(1)[0].status == "succeeded"
    assert released.wait(10)
    assert not scene.more_results()
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.parametrize("redriven", [True, False])
def test_a_success_that_is_announced_late_is_no_dead_letter(
    scene: Scene, start: Start, redriven: bool
) -> None:
    clients = scene.clients()
    results_stored = 0

    def count(params: dict[str, Any], **_: Any) -> None:
        nonlocal results_stored
        results_stored += params["Key"].endswith("result.json")

    def fail_at_first(**_: Any) -> None:
        # The second result is the failure that the agent writes when it has stopped trying.
        if results_stored < 2:
            raise ConnectionError("reset")

    clients.s3.meta.events.register("provide-client-params.s3.PutObject", count)
    clients.sns.meta.events.register("provide-client-params.sns.Publish", fail_at_first)
    start(clients=clients, environment=scene.with_settings(max_receive_count=1))
    task = scene.task()
    scene.send_again(task, **({"error_code": "out-of-memory"} if redriven else {}))
    (result,) = scene.wait_for_results(1)
    assert result.status == "succeeded"
    assert scene.stored_result(task) == result.to_dict()
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert scene.left(scene.dead_letters) == (0, 0)


def test_a_task_whose_tries_were_all_interrupted_fails_without_another(
    scene: Scene, start: Start
) -> None:
    task = scene.send()
    message_id = _receive_and_forget(scene)
    key = RETURNED_PREFIX + message_id
    scene.s3.put_object(Bucket=scene.output_bucket, Key=key, Body=b"0 last-began")
    engine = start()
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status, result.attempt) == (task.task_id, "failed", 2)
    assert result.error == TaskError("generation-failed", "every try was interrupted")
    dead = scene.wait_for_dead_letter()
    assert dead["Body"] == task.to_json()
    assert not engine.generations


def test_a_task_that_was_received_as_often_as_it_may_be_tried_and_never_begun_is_tried(
    scene: Scene, start: Start
) -> None:
    scene.send()
    _receive_and_forget(scene)
    start()
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", scene.environment.max_receive_count)


def test_a_task_that_the_queue_would_give_up_next_is_given_up_with_a_result(
    scene: Scene, start: Start
) -> None:
    scene.send()
    _receive_and_forget(scene, scene.environment.max_receive_count + MOST_RETURNS)
    engine = start()
    (result,) = scene.wait_for_results(1)
    assert result.error == TaskError("generation-failed", "every try was interrupted")
    assert not engine.generations


def _receive_and_forget(scene: Scene, times: int | None = None) -> str:
    """Take a message as agents do that are killed at once; return its id."""
    for _ in range(times or scene.environment.max_receive_count):
        (taken,) = scene.sqs.receive_message(QueueUrl=scene.queue, VisibilityTimeout=0)["Messages"]
    return str(taken["MessageId"])


def test_an_agent_that_has_lost_a_loop_takes_nothing_more(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_LOOK_SECONDS", 0.02)
    agent = Agent(scene.environment, FakeEngine(), scene.clients(), backoff=QUICK)
    # Without a heartbeat others would be given what this agent works on.
    monkeypatch.setattr(type(agent._leases), "alive", False)
    assert agent.run(Signals()) == service.EXIT_BROKEN
    assert agent.worker.join(5)
    scene.send()
    wait_until(lambda: scene.left() == (1, 0), "the task is there for others")


def test_an_engine_that_dies_while_idle_costs_the_next_task_no_try(scene: Scene) -> None:
    scene.publish_model()
    engine = ChildEngine(STAND_IN)
    agent = Agent(scene.with_settings(max_receive_count=1), engine, scene.clients(), backoff=QUICK)
    agent.start()
    try:
        wait_until(lambda: agent.worker.ready, "the agent is ready")
        assert engine.process_id is not None
        os.kill(engine.process_id, 9)
        wait_until(lambda: not engine.health().running, "the death is noticed")
        scene.send()
        (result,) = scene.wait_for_results(1)
    finally:
        agent.drain(Signals())
    assert (result.status, result.attempt) == ("succeeded", 1)
