"""Agents of a runtime with several lanes, on the emulated AWS."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from cdk_stable_diffusion.contract.lanes import home_lanes, homes, lane_of
from cdk_stable_diffusion.runtime_image.agent import intake, lane_choice, lane_receiver
from cdk_stable_diffusion.runtime_image.agent.lane_choice import LaneChoice
from cdk_stable_diffusion.runtime_image.agent.leases import Leases
from cdk_stable_diffusion.runtime_image.agent.members import FileMembers
from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.agent.shutdown import Shutdown
from cdk_stable_diffusion.runtime_image.agent.task_queue import Received, TaskQueue
from tests.agent.fake_engine import FakeEngine, KeepsOne
from tests.agent.lanes_scene import LanesScene
from tests.agent.processes import Run, log, ready
from tests.agent.scene import Aws, wait_until

LANES = 8
NAMES = ("replica-0", "replica-1")


@pytest.fixture
def scene(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LanesScene:
    """Make a runtime with lanes."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return LanesScene(aws, tmp_path, LANES)


class Agents:
    """Agents in this process."""

    def __init__(self, scene: LanesScene) -> None:
        self._scene = scene
        self.agents: list[Agent] = []
        self.engines: list[FakeEngine] = []
        self.requests: list[Counter[str]] = []

    def __call__(self, engine: FakeEngine | None = None, **settings: object) -> FakeEngine:
        """Start an agent and return its engine."""
        engine = engine or FakeEngine()
        environment = self._scene.with_settings(
            **{**self._scene.agent(len(self.agents)), **settings}
        )
        clients = self._scene.clients()
        requests: Counter[str] = Counter()
        for client in (clients.sqs, clients.waiting_sqs):
            client.meta.events.register(
                "before-call.sqs", lambda model, **_: requests.update([model.name])
            )
        agent = Agent(environment, engine, clients)
        agent.start()
        self.agents.append(agent)
        self.engines.append(engine)
        self.requests.append(requests)
        return engine

    def receiver(self, number: int) -> Any:
        """Return where an agent's messages come from."""
        return self.agents[number]._intake._receiver

    def settled(self) -> None:
        """Wait until all see each other and none waits at another's lane."""
        names = [f"replica-{number}" for number in range(len(self.agents))]
        for number, name in enumerate(names):
            receiver, expected = self.receiver(number), home_lanes(name, names, LANES)
            wait_until(partial(_is_at, receiver, expected), f"{name} is at its lanes alone")

    def stop(self, number: int) -> None:
        """Stop an agent as its process would, without waiting for its task."""
        agent = self.agents[number]
        agent.shutdown.request(0.0)
        agent._intake.stop(2.0)
        agent._give_back()


def _is_at(receiver: Any, lanes: tuple[int, ...]) -> bool:
    return bool(receiver._choice.homes == lanes and receiver._polled <= {*lanes, LANES})


@pytest.fixture
def agents(scene: LanesScene) -> Iterator[Agents]:
    """Start agents, and stop them."""
    agents = Agents(scene)
    yield agents
    for number in range(len(agents.agents)):
        agents.stop(number)


def _wait_for(event: threading.Event) -> None:
    event.wait(20)


def _models_at_home(scene: LanesScene, replica: int, replicas: int) -> list[str]:
    """Return a model of each home lane of a replica."""
    at = homes([f"replica-{number}" for number in range(replicas)], LANES)
    return [
        scene.models_of(lane)[0] for lane, home in enumerate(at) if home == f"replica-{replica}"
    ]


def test_one_agent_serves_every_lane(scene: LanesScene, agents: Agents) -> None:
    models = [scene.models_of(lane)[0] for lane in range(LANES)]
    for model in models:
        scene.publish_model(model)
        scene.send(model=model)
    engine = agents()
    results = scene.wait_for_results(LANES)
    assert {result.status for result in results} == {"succeeded"}
    assert sorted(engine.loads) == sorted(models)
    # Each message is deleted from its own queue.
    wait_until(lambda: scene.waiting() == [(0, 0)] * (LANES + 1), "every lane is empty")


def test_a_task_is_served_by_its_home(scene: LanesScene, agents: Agents) -> None:
    for _ in range(2):
        agents(steal_after_milliseconds=60_000)
    agents.settled()
    expected = [_models_at_home(scene, number, 2) for number in range(2)]
    for model in (*expected[0], *expected[1]):
        scene.publish_model(model)
        for _ in range(3):
            scene.send(model=model)
    scene.wait_for_results(3 * LANES)
    assert [sorted(set(engine.loads)) for engine in agents.engines] == list(map(sorted, expected))


def test_what_comes_to_a_poll_from_before_is_left_to_the_new_home(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LaneChoice, "poll_seconds", lambda *_: 20)
    engine = agents(steal_after_milliseconds=60_000)
    receiver = agents.receiver(0)
    wait_until(lambda: len(receiver._polled) == LANES + 1, "it waits at all lanes")
    other = FileMembers(
        Path(scene.environment.members_directory), "replica-1", is_ready=lambda: True
    )
    other.start()
    wait_until(lambda: receiver._choice.homes == home_lanes("replica-0", NAMES, LANES), "it knows")
    model = _models_at_home(scene, 1, 2)[0]
    scene.publish_model(model)
    scene.send(model=model)
    # It has it for a moment, and then no more.
    gives_back = "ChangeMessageVisibility"
    wait_until(lambda: agents.requests[0][gives_back] > 0, "it has given it back")
    wait_until(lambda: (1, 0) in scene.waiting(), "it waits for its home")
    assert not engine.loads
    other.leave()
    scene.wait_for_results(1)


def test_tasks_of_one_model_are_done_together(scene: LanesScene, agents: Agents) -> None:
    models = scene.models_of(0, 2)
    for model in models:
        scene.publish_model(model)
    engine = KeepsOne(lambda _: time.sleep(0.02))
    engine.on_load = lambda _: time.sleep(0.3)
    for number in range(16):
        scene.send(model=models[number % 2])
    # As if they had waited for long, and so no replica could be idle.
    agents(engine, steal_after_milliseconds=0)
    agents.receiver(0)._choice._steal_after = -10.0
    scene.wait_for_results(16)
    # The first ones teach the agent what a load costs.
    assert len(engine.loads) <= 6


def test_the_lanes_of_who_leaves_have_another_home(scene: LanesScene, agents: Agents) -> None:
    for _ in range(2):
        agents(steal_after_milliseconds=60_000)
    agents.settled()
    model = _models_at_home(scene, 0, 2)[0]
    scene.publish_model(model)
    agents.stop(0)
    scene.send(model=model)
    assert scene.wait_for_results(1)[0].status == "succeeded"
    assert agents.engines[1].loads == [model]


def test_what_a_busy_home_leaves_is_stolen_after_a_while(scene: LanesScene, agents: Agents) -> None:
    go_on = threading.Event()
    model = _models_at_home(scene, 0, 2)[0]
    scene.publish_model(model)
    home, thief = agents(FakeEngine(lambda _: _wait_for(go_on))), agents()
    agents.settled()
    scene.send(model=model, prompt="first")
    wait_until(lambda: bool(home.generations), "the home is busy")
    lane = lane_of(model, LANES)
    seen = agents.receiver(1)._choice._lanes[lane]
    wait_until(lambda: seen.waiting_since is None, "the thief sees that nothing waits")
    scene.send(model=model, prompt="second")
    (result,) = scene.wait_for_results(1)
    assert [generation.prompt for generation in thief.generations] == ["second"]
    assert result.timings.waiting_seconds >= 0.5
    go_on.set()
    scene.wait_for_results(1)
    assert [generation.prompt for generation in home.generations] == ["first"]


def test_stopping_waits_for_no_lane_and_gives_everything_back(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The emulator answers a poll that was cut short at its end only.
    monkeypatch.setattr(LaneChoice, "poll_seconds", lambda *_: 1)
    agents()
    agents.agents[0]._intake.wake()
    wait_until(lambda: agents.requests[0]["ReceiveMessage"] > LANES, "it waits at every lane")
    began = time.monotonic()
    agents.agents[0].shutdown.request(10.0)
    assert agents.agents[0]._intake.stop(2.0)
    assert time.monotonic() - began < 2.0
    models = [scene.models_of(lane)[0] for lane in range(LANES)]
    for model in models:
        scene.send(model=model)
    assert scene.waiting() == [*[(1, 0)] * LANES, (0, 0)]


def test_what_comes_to_several_polls_at_once_is_all_done(scene: LanesScene, agents: Agents) -> None:
    models = [scene.models_of(lane)[0] for lane in range(LANES)]
    for model in models:
        scene.publish_model(model)
    agents()
    wait_until(lambda: agents.requests[0]["ReceiveMessage"] > LANES, "it waits at every lane")
    for model in models:
        scene.send(model=model)
    results = scene.wait_for_results(LANES)
    assert {result.model for result in results} == set(models)
    assert {result.attempt for result in results} == {1}


def test_what_comes_to_several_polls_has_no_more_bytes_than_it_may(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [scene.models_of(lane)[0] for lane in range(LANES)]
    for model in models:
        scene.publish_model(model)
    go_on = threading.Event()
    with monkeypatch.context() as patched:
        patched.setattr(LaneChoice, "poll_seconds", lambda *_: 20)
        agents(FakeEngine(lambda _: _wait_for(go_on)), prefetch_bytes=1)
        wait_until(lambda: agents.requests[0]["ReceiveMessage"] >= 2 * LANES, "it waits")
        for model in models:
            scene.send(model=model)
        receiver, intake = agents.receiver(0), agents.agents[0]._intake
        # One is on the GPU, and one in hand.
        wait_until(lambda: len(receiver._arrived) == LANES - 2, "all have arrived")
        wait_until(lambda: bool(intake._hand), "one is in hand")
        assert len(intake._hand) == 1
    go_on.set()
    assert {result.attempt for result in scene.wait_for_results(LANES)} == {1}


@pytest.mark.slow
def test_what_comes_to_the_polls_of_who_is_busy_is_done_by_who_is_idle(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    first, second = _models_at_home(scene, 0, 2)[:2]
    for model in (first, second):
        scene.publish_model(model)
    home, thief = agents(FakeEngine(lambda _: _wait_for(go_on))), agents()
    agents.settled()
    monkeypatch.setattr(LaneChoice, "poll_seconds", lambda *_: 20)
    polls = agents.requests[0]["ReceiveMessage"] + len(agents.receiver(0)._polled)
    wait_until(lambda: agents.requests[0]["ReceiveMessage"] >= polls, "it waits for long")
    # As if it knew that this will last.
    worker = agents.agents[0].worker
    worker._loading._usual, worker._progress._usual = 1.0, 60.0
    scene.send(model=first)
    wait_until(lambda: bool(home.generations), "the home is busy")
    began = time.monotonic()
    scene.send(model=second)
    (result,) = scene.wait_for_results(1)
    assert thief.loads == [second]
    # A home keeps what it has in hand for ten seconds.
    assert time.monotonic() - began < 6.0
    assert result.attempt == 1
    go_on.set()
    scene.wait_for_results(1)


class Alone:
    """A view of one replica."""

    def members(self) -> tuple[str, ...]:
        """Return it."""
        return ("replica-0",)


class Counts:
    """Queues of which one may not answer."""

    def __init__(self, waiting: tuple[int | None, ...]) -> None:
        self._waiting = waiting

    def count(self, lane: int) -> tuple[int, int]:
        """Return what waits, and nothing in hand."""
        if (waiting := self._waiting[lane]) is None:
            raise ConnectionError("no answer")
        return waiting, 0


def _busy_home_and_idle_other(
    scene: LanesScene, agents: Agents, go_on: threading.Event, models: Sequence[str]
) -> FakeEngine:
    """Make an agent busy with the first of its models for long, beside an idle one.

    Returns:
        The idle one's engine.
    """
    for model in models:
        scene.publish_model(model)
    # Nothing is old enough to be stolen.
    home = agents(FakeEngine(lambda _: _wait_for(go_on)), steal_after_milliseconds=60_000)
    other = agents(steal_after_milliseconds=60_000)
    agents.settled()
    # As if it knew that this will last.
    worker = agents.agents[0].worker
    worker._loading._usual, worker._progress._usual = 1.0, 60.0
    scene.send(model=models[0])
    wait_until(lambda: bool(home.generations), "the home is busy")
    return other


def test_what_comes_to_a_busy_home_is_passed_on_to_who_is_idle(
    scene: LanesScene, agents: Agents
) -> None:
    go_on = threading.Event()
    models = _models_at_home(scene, 0, 2)
    other = _busy_home_and_idle_other(scene, agents, go_on, models)
    for number, model in enumerate(models[1:]):
        scene.send(model=model, prompt=f"{number}")
    results = scene.wait_for_results(len(models) - 1)
    assert sorted(other.loads) == sorted(models[1:])
    assert {(result.status, result.attempt) for result in results} == {("succeeded", 1)}
    # The home waits for its own alone, so that it does not take what it has passed on.
    wait_until(lambda: LANES not in agents.receiver(0)._polled, "the last poll has ended")
    go_on.set()
    scene.wait_for_results(1)
    wait_until(lambda: scene.waiting() == [(0, 0)] * (LANES + 1), "every queue is empty")


@pytest.mark.parametrize("failing", ["SendMessage", "DeleteMessage"])
def test_what_cannot_be_passed_on_is_done_once(
    scene: LanesScene, agents: Agents, failing: str
) -> None:
    go_on = threading.Event()
    first, second = _models_at_home(scene, 0, 2)[:2]
    other = _busy_home_and_idle_other(scene, agents, go_on, (first, second))
    failed = threading.Event()

    def fail(**_: Any) -> None:
        failed.set()
        raise ConnectionError("no answer")

    sqs = agents.agents[0]._queue._sqs
    sqs.meta.events.register(f"before-call.sqs.{failing}", fail)
    scene.send(model=second, prompt="second")
    wait_until(failed.is_set, "it has failed")
    sqs.meta.events.unregister(f"before-call.sqs.{failing}", fail)
    if failing == "DeleteMessage":
        # Both the copy and the message are there.
        assert scene.wait_for_results(1)[0].model == second
        assert [generation.prompt for generation in other.generations] == ["second"]
    go_on.set()
    results = scene.wait_for_results(2 if failing == "SendMessage" else 1)
    assert {result.status for result in results} == {"succeeded"}
    prompts = [each.prompt for engine in agents.engines for each in engine.generations]
    assert prompts.count("second") == 1


class Overflow(Counts):
    """Queues that keep what is done with them."""

    def __init__(self, waiting: tuple[int | None, ...]) -> None:
        super().__init__(waiting)
        self.done: list[tuple[str, str]] = []

    def copy_to_lane(self, message: Received, lane: int) -> None:
        """Take note."""
        self.done.append((f"to {lane}", message.message_id))

    def delete(self, message: Received) -> None:
        """Take note."""
        self.done.append(("deleted", message.message_id))


@pytest.mark.parametrize(
    ("lane", "receive_count", "overflow", "expected"),
    [
        (0, 1, 0, ["to 2", "deleted"]),
        # It was tried, and what was copied would have all tries again.
        (0, 2, 0, []),
        # Nobody is idle, or nobody knows.
        (0, 1, 1, []),
        (0, 1, None, []),
        # It came to a poll from before there was work.
        (2, 1, 0, ["given back"]),
    ],
)
def test_it_passes_on_what_was_never_tried_to_who_is_idle(
    lane: int, receive_count: int, overflow: int | None, expected: list[str]
) -> None:
    queue = Overflow((0, 0, overflow))
    leases = Leases(cast(TaskQueue, queue), lease_seconds=30)
    nothing: Any = None
    receiver = lane_receiver.LaneReceiver(
        cast(TaskQueue, queue),
        nothing,
        leases,
        Shutdown(),
        lambda messages: queue.done.extend(("given back", each.message_id) for each in messages),
        choice=LaneChoice("replica-0", 2, steal_after=0.5, now=0.0),
        members=cast(FileMembers, Alone()),
        near=nothing,
        loading=nothing,
        progress=nothing,
    )
    message = Received(
        message_id="1",
        receipt="1",
        body="",
        receive_count=receive_count,
        attributes={},
        lane=lane,
        polled=True,
    )
    leases.hold(message)
    assert receiver.pass_on(message) is bool(expected)
    assert queue.done == [(each, "1") for each in expected]
    assert bool(leases.held()) is (expected != ["to 2", "deleted"])


def test_what_waits_for_its_turn_is_done_by_who_is_idle(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "_CHECK_SECONDS", 0.1)
    go_on = threading.Event()
    first, *others = _models_at_home(scene, 0, 2)[:3]
    for model in (first, *others):
        scene.publish_model(model)
    home = agents(FakeEngine(lambda _: _wait_for(go_on)))
    worker, hand = agents.agents[0].worker, agents.agents[0]._intake
    worker._loading._usual, worker._progress._usual = 100.0, 60.0
    wait_until(lambda: len(agents.receiver(0)._polled) == LANES + 1, "it waits at all lanes")
    scene.send(model=first)
    wait_until(lambda: bool(home.generations), "it is busy")
    for model in others:
        scene.send(model=model)
    # There is nobody else who could begin them sooner.
    wait_until(lambda: len(hand._hand) == len(others), "it holds the others")
    thief = agents()
    results = scene.wait_for_results(len(others))
    assert sorted(thief.loads) == sorted(others)
    assert {result.attempt for result in results} == {1}
    go_on.set()
    scene.wait_for_results(1)


@pytest.mark.parametrize(
    ("waiting", "expected"),
    [((0, 0, 0), False), ((0, 3, 0), True), ((0, 0, 1), True), ((0, None, 0), True)],
)
def test_more_waits_unless_every_lane_of_its_own_is_known_to_be_empty(
    waiting: tuple[int | None, ...], expected: bool
) -> None:
    choice = LaneChoice("replica-0", 2, steal_after=0.5, now=0.0)
    nothing: Any = None
    receiver = lane_receiver.LaneReceiver(
        cast(TaskQueue, Counts(waiting)),
        *(nothing, nothing, nothing, nothing),
        choice=choice,
        members=cast(FileMembers, Alone()),
        near=nothing,
        loading=nothing,
        progress=nothing,
    )
    assert receiver.has_more() is expected


def test_a_replica_that_knows_of_no_other_has_a_name(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "pod-7")
    agents(replica_name="", members_directory="")
    assert agents.receiver(0)._members.members() == ("pod-7",)


@pytest.mark.slow
def test_a_lane_whose_home_takes_nothing_is_served_by_who_is_busy(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_choice, "NEGLECTED_SECONDS", 0.5)
    monkeypatch.setattr(lane_choice, "_CHECK_SECONDS", 0.1)
    monkeypatch.setattr(lane_choice, "_CHECKS_APART_SECONDS", 0.02)
    own, rare = _models_at_home(scene, 0, 2)[0], _models_at_home(scene, 1, 2)[0]
    for model in (own, rare):
        scene.publish_model(model)
    directory = Path(scene.environment.members_directory)
    hangs = FileMembers(directory, "replica-1", is_ready=lambda: True)
    hangs.start()
    wait_until(lambda: len(list(directory.glob("*"))) == 1, "it is a member")

    def draw(_: object) -> None:
        # There is always more of its own.
        scene.send(model=own)
        time.sleep(0.02)

    engine = agents(KeepsOne(draw))
    for _ in range(3):
        scene.send(model=own)
    wait_until(lambda: own in engine.loads, "it is busy")
    scene.send(model=rare)
    wait_until(lambda: rare in engine.loads, "it takes from the lane that nobody takes from")
    hangs.leave()


def test_who_cannot_see_others_waits_for_that_once(
    scene: LanesScene, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(FileMembers, "wait_for_view", lambda _, timeout: waits.append(timeout))
    monkeypatch.setattr(lane_receiver, "_VIEW_SECONDS", 1e-6)
    scene.publish_model()
    agents()
    for _ in range(2):
        scene.send()
        scene.wait_for_results(1)
    wait_until(lambda: len(waits) > 2, "it waits for a third task")
    assert waits[1:] == [0.0] * len(waits[1:])


@pytest.mark.slow
def test_an_idle_agent_asks_less_than_60_times_a_minute(scene: LanesScene, agents: Agents) -> None:
    for number in range(2):
        agents()
        # As if it had had nothing to do for long.
        agents.receiver(number)._choice._found_at -= 600.0
    time.sleep(22)
    before = [requests.total() for requests in agents.requests]
    time.sleep(30)
    asked = [requests.total() - b for requests, b in zip(agents.requests, before, strict=True)]
    assert all(count < 30 for count in asked), agents.requests


# Processes


def _send_all(scene: LanesScene, models: list[str], each: int, prompt: str) -> int:
    for _ in range(each):
        for model in models:
            scene.send(model=model, prompt=prompt)
    return each * len(models)


@pytest.mark.chaos
def test_nothing_is_lost_when_a_replica_dies_or_joins(scene: LanesScene, run: Run) -> None:
    models = [scene.models_of(lane)[0] for lane in range(LANES)]
    for model in models:
        scene.publish_model(model)
    for number in range(2):
        run(lease_seconds=5, **scene.agent(number))
    for number in range(2):
        wait_until(ready(scene, number), "the agent is ready")
    count = _send_all(scene, models, 3, "sleep 0.2")
    dead = run.processes[0]
    wait_until(lambda: '"started"' in log(scene, 0), "the first has begun")
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    run(lease_seconds=5, **scene.agent(2))
    results = scene.wait_for_results(count, seconds=40)
    assert {result.status for result in results} == {"succeeded"}
    assert len({result.task_id for result in results}) == count
    # Who joined, or was left, has the dead one's lanes.
    wait_until(lambda: '"replica-2"' in log(scene, 1), "the newcomer is seen")
    began = time.monotonic()
    _send_all(scene, models, 1, "done at once")
    scene.wait_for_results(LANES, seconds=10)
    assert time.monotonic() - began < 10
    wait_until(lambda: scene.waiting() == [(0, 0)] * (LANES + 1), "every lane is empty")
