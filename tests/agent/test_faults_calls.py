"""AWS fails under a real agent: nothing is lost, and no picture is drawn twice for it."""

from __future__ import annotations

import time

import pytest

from benchmarks.faults import Fault, Kind
from benchmarks.proxy import Proxy
from tests.agent.processes import Run, begun, ready
from tests.agent.scene import Scene, wait_until

# How often they fail: more than botocore tries by itself.
_CALLS = {
    ("s3.PutObject", "*/00.png"): 4,
    ("s3.PutObject", "*/result.json"): 4,
    ("s3.GetObject", "*/result.json"): 4,
    ("s3.GetObject", "*/model.json"): 4,
    ("sns.Publish", "*"): 4,
    ("sqs.DeleteMessage", "*"): 3,
    ("sqs.ReceiveMessage", "*"): 2,
}


@pytest.mark.chaos
@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.THROTTLE, Kind.CUT])
def test_calls_that_fail_are_repeated_and_the_picture_survives_in_hand(
    scene: Scene, run: Run, proxy: Proxy, kind: Kind
) -> None:
    proxy.plan.set(
        *(
            Fault(operation=name, path=path, kind=kind, times=times)
            for (name, path), times in _CALLS.items()
        )
    )
    tasks = [scene.send(prompt=f"number {n}") for n in range(3)]
    run(endpoint=proxy.url)
    results = scene.wait_for_results(3, seconds=40)
    assert {result.task_id for result in results} == {task.task_id for task in tasks}
    assert {(result.status, result.attempt) for result in results} == {("succeeded", 1)}
    wait_until(lambda: scene.left() == (0, 0), "the messages are deleted")
    assert set(run.begun().values()) == {1}
    for (name, _path), times in _CALLS.items():
        assert proxy.plan.met[name, kind] >= times, name
    assert scene.left(scene.dead_letters) == (0, 0)


def test_calls_that_fail_once_or_twice_change_nothing(scene: Scene, run: Run, proxy: Proxy) -> None:
    proxy.plan.set(
        *(Fault(operation=name, path=path, kind=Kind.ERROR, times=1) for name, path in _CALLS)
    )
    task = scene.send()
    run(endpoint=proxy.url)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 1)
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}
    assert proxy.plan.total() == len(_CALLS)


@pytest.mark.chaos
def test_a_bucket_that_is_away_for_more_than_a_minute_costs_no_try_and_no_picture(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    run(endpoint=proxy.url, max_receive_count=1)
    wait_until(ready(scene), "the agent is ready")
    drawn = scene.send(prompt="sleep 1")
    wait_until(begun(scene), "it is begun")
    proxy.plan.set(Fault(operation="s3.*", kind=Kind.THROTTLE))
    waiting = scene.send(prompt="next")
    until = time.monotonic() + 75
    while time.monotonic() < until:
        assert not scene.more_results()
        time.sleep(1)
    proxy.plan.set()
    results = scene.wait_for_results(2, seconds=40)
    assert {result.task_id for result in results} == {drawn.task_id, waiting.task_id}
    assert {(result.status, result.attempt) for result in results} == {("succeeded", 1)}
    assert run.begun() == {drawn.task_id: 1, waiting.task_id: 1}
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.chaos
def test_a_topic_that_is_away_for_more_than_a_minute_costs_no_picture(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    proxy.plan.set(Fault(operation="sns.Publish", kind=Kind.THROTTLE))
    task = scene.send()
    run(endpoint=proxy.url, max_receive_count=1)
    time.sleep(75)
    proxy.plan.set()
    (result,) = scene.wait_for_results(1, seconds=40)
    assert (result.status, result.attempt) == ("succeeded", 1)
    assert run.begun() == {task.task_id: 1}
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")


@pytest.mark.chaos
def test_calls_that_hang_are_given_up_and_repeated(scene: Scene, run: Run, proxy: Proxy) -> None:
    lasting = [(name, path) for name, path in _CALLS if name != "sqs.ReceiveMessage"]
    proxy.plan.set(
        *(Fault(operation=name, path=path, kind=Kind.HANG, times=1) for name, path in lasting)
    )
    task = scene.send()
    run(endpoint=proxy.url, lease_seconds=5)
    (result,) = scene.wait_for_results(1, seconds=180)
    assert (result.status, result.attempt) == ("succeeded", 1)
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}
    assert proxy.plan.total() == len(lasting)


def test_a_bucket_that_denies_what_it_has_is_not_taken_for_an_empty_one(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    run(endpoint=proxy.url)
    task = scene.send(prompt="random 0.1")
    (first,) = scene.wait_for_results(1)
    proxy.plan.set(Fault(operation="s3.GetObject", path="*/result.json", kind=Kind.DENY, times=2))
    scene.send_again(task)
    (second,) = scene.wait_for_results(1)
    assert second == first
    assert run.begun() == {task.task_id: 1}


def test_answers_that_are_lost_change_nothing(scene: Scene, run: Run, proxy: Proxy) -> None:
    lost = [
        Fault(operation=name, path=path, kind=Kind.LOSE_ANSWER, times=1)
        for name, path in _CALLS
        if name != "sqs.ReceiveMessage"
    ]
    proxy.plan.set(*lost)
    task = scene.send()
    run(endpoint=proxy.url)
    # A message that was published without the agent's knowing is published again.
    first, second = scene.wait_for_results(2)
    assert first == second
    assert (first.status, first.task_id) == ("succeeded", task.task_id)
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun()[task.task_id] == 1


@pytest.mark.chaos
def test_a_message_that_was_lost_on_its_way_to_the_agent_comes_again(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    proxy.plan.set(Fault(operation="sqs.ReceiveMessage", kind=Kind.LOSE_ANSWER, times=1))
    scene.send()
    run(endpoint=proxy.url, lease_seconds=5)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 2)


@pytest.mark.chaos
def test_a_result_that_was_published_is_not_drawn_again_where_its_message_stayed(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    proxy.plan.set(Fault(operation="sqs.DeleteMessage", kind=Kind.ERROR))
    task = scene.send()
    agent = run(endpoint=proxy.url, lease_seconds=5)
    (first,) = scene.wait_for_results(1)
    agent.kill()
    agent.wait()
    proxy.plan.set()
    run(endpoint=proxy.url)
    (second,) = scene.wait_for_results(1)
    assert second == first
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}


@pytest.mark.chaos
def test_a_slow_bucket_costs_no_lease(scene: Scene, run: Run, proxy: Proxy) -> None:
    proxy.plan.set(Fault(operation="s3.PutObject", kind=Kind.SLOW, seconds=4, times=2))
    task = scene.send()
    run(endpoint=proxy.url, lease_seconds=5)
    run(endpoint=proxy.url, lease_seconds=5)
    (result,) = scene.wait_for_results(1)
    assert result.attempt == 1
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}


@pytest.mark.chaos
def test_a_heartbeat_that_hangs_costs_no_lease(scene: Scene, run: Run, proxy: Proxy) -> None:
    proxy.plan.set(Fault(operation="sqs.ChangeMessageVisibility*", kind=Kind.HANG, times=1))
    task = scene.send(prompt="sleep 11")
    run(endpoint=proxy.url, lease_seconds=9)
    run(endpoint=proxy.url, lease_seconds=9)
    (result,) = scene.wait_for_results(1, seconds=40)
    assert result.attempt == 1
    assert run.begun() == {task.task_id: 1}
    assert sum(proxy.plan.met.values()) == 1
