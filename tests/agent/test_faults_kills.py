"""Agents are killed, or live for longer than their leases: every task is done, and once."""

from __future__ import annotations

import signal
import time

import pytest

from benchmarks.faults import Fault, Kind
from benchmarks.proxy import Proxy
from cdk_stable_diffusion.contract import TaskError
from tests.agent.processes import Run, begun, ready
from tests.agent.scene import Scene, wait_until

_RELEASE = "sqs.ChangeMessageVisibility"
"""Also a heartbeat, of which there is none within a third of the lease of 20 seconds."""


@pytest.mark.parametrize(
    "lease_seconds", [5, pytest.param(30, marks=pytest.mark.chaos, id="as long as by default")]
)
def test_a_task_whose_agent_is_killed_runs_again_within_one_lease(
    scene: Scene, run: Run, lease_seconds: int
) -> None:
    agent = run(lease_seconds=lease_seconds)
    task = scene.send(prompt="sleep 1")
    wait_until(begun(scene), "the task is begun")
    agent.kill()
    killed = time.monotonic()
    run(lease_seconds=lease_seconds)
    wait_until(begun(scene, 1), "it is begun again", seconds=lease_seconds + 2)
    assert time.monotonic() - killed <= lease_seconds + 1
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.task_id, result.attempt) == ("succeeded", task.task_id, 2)
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert not scene.more_results()


@pytest.mark.chaos
def test_a_task_longer_than_two_leases_runs_once_among_two_agents(scene: Scene, run: Run) -> None:
    for number in (0, 1):
        run(lease_seconds=5)
        wait_until(ready(scene, number), "both are ready")
    task = scene.send(prompt="sleep 12")
    (result,) = scene.wait_for_results(1, seconds=30)
    assert result.attempt == 1
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}


@pytest.mark.chaos
def test_a_task_that_was_only_held_by_an_agent_that_is_killed_keeps_its_last_try(
    scene: Scene, run: Run
) -> None:
    agent = run(max_receive_count=1, lease_seconds=5)
    wait_until(ready(scene), "the agent is ready")
    interrupted = scene.send(prompt="sleep 3")
    wait_until(begun(scene), "the first is begun")
    held = scene.send(prompt="next")
    wait_until(lambda: scene.left() == (0, 2), "the second is in hand", seconds=2.9)
    agent.kill()
    run(max_receive_count=1, lease_seconds=5)
    results = {result.task_id: result for result in scene.wait_for_results(2)}
    assert (results[held.task_id].status, results[held.task_id].attempt) == ("succeeded", 1)
    error = results[interrupted.task_id].error
    assert error == TaskError("generation-failed", "every try was interrupted")
    assert scene.wait_for_dead_letter()["Body"] == interrupted.to_json()


@pytest.mark.chaos
@pytest.mark.parametrize("operation", ["s3.PutObject", "sns.Publish", "sqs.DeleteMessage"])
def test_an_end_while_a_call_hangs_comes_in_time_and_gives_the_task_back(
    scene: Scene, run: Run, proxy: Proxy, operation: str
) -> None:
    proxy.plan.set(Fault(operation=operation, kind=Kind.HANG))
    agent = run(endpoint=proxy.url, drain_seconds=3)
    task = scene.send()
    wait_until(lambda: proxy.plan.met[operation, Kind.HANG] > 0, "the call hangs")
    agent.send_signal(signal.SIGTERM)
    asked = time.monotonic()
    assert agent.wait(10) == 0
    assert time.monotonic() - asked < 5
    # A poll that nobody waits for any more may bring it once again, and it is released once more.
    assert proxy.plan.calls[_RELEASE] >= 1
    proxy.plan.set()
    run()
    results = scene.wait_for_results(1, seconds=30)
    assert {(result.status, result.task_id) for result in results} == {("succeeded", task.task_id)}


@pytest.mark.chaos
def test_an_end_while_a_task_is_being_prepared_gives_it_back_at_once(
    scene: Scene, run: Run, proxy: Proxy
) -> None:
    proxy.plan.set(Fault(operation="s3.GetObject", path="*/result.json", kind=Kind.ERROR))
    agent = run(endpoint=proxy.url, drain_seconds=60, max_receive_count=1)
    scene.send()
    wait_until(lambda: proxy.plan.total() > 3, "the bucket is away")
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(10) == 0
    assert scene.left() == (1, 0)
    run(max_receive_count=1)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.attempt) == ("succeeded", 1)
