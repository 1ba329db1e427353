"""AWS fails under a real agent: nothing is lost, and no picture is drawn twice for it."""

from __future__ import annotations

import pytest

from benchmarks.faults import Fault, Kind
from benchmarks.proxy import Proxy
from tests.agent.processes import Run
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


def test_a_message_that_was_lost_on_its_way_to_the_agent_comes_again(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    proxy.plan.set(Fault(operation="sqs.ReceiveMessage", kind=Kind.LOSE_ANSWER, times=1))
    scene.send()
    run(endpoint=proxy.url, lease_seconds=5)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 2)


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


def test_a_slow_bucket_costs_no_lease(scene: Scene, run: Run, proxy: Proxy) -> None:
    proxy.plan.set(Fault(operation="s3.PutObject", kind=Kind.SLOW, seconds=4, times=2))
    task = scene.send()
    run(endpoint=proxy.url, lease_seconds=5)
    run(endpoint=proxy.url, lease_seconds=5)
    (result,) = scene.wait_for_results(1)
    assert result.attempt == 1
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}


def test_a_heartbeat_that_hangs_costs_no_lease(scene: Scene, run: Run, proxy: Proxy) -> None:
    proxy.plan.set(Fault(operation="sqs.ChangeMessageVisibility*", kind=Kind.HANG, times=1))
    task = scene.send(prompt="sleep 11")
    run(endpoint=proxy.url, lease_seconds=9)
    run(endpoint=proxy.url, lease_seconds=9)
    (result,) = scene.wait_for_results(1, seconds=40)
    assert result.attempt == 1
    assert run.begun() == {task.task_id: 1}
    assert sum(proxy.plan.met.values()) == 1
