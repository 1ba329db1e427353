"""What an agent holds without having begun it: kept, shared fairly, and given back in time."""

from __future__ import annotations

import signal
import time

import pytest

from tests.agent.processes import Run, begun, log, ready
from tests.agent.scene import Scene, wait_until


def test_the_next_task_is_in_hand_before_the_gpu_is_free(scene: Scene, run: Run) -> None:
    run()
    wait_until(ready(scene), "the agent is ready")
    scene.send(prompt="sleep 3")
    wait_until(begun(scene), "the first is begun")
    scene.send(prompt="next")
    wait_until(lambda: scene.left() == (0, 2), "the second is in hand", seconds=2.9)
    assert log(scene).count('"started"') == 1
    assert [result.status for result in scene.wait_for_results(2)] == ["succeeded"] * 2


@pytest.mark.slow
def test_a_task_that_cannot_begin_soon_is_left_to_others(scene: Scene, run: Run) -> None:
    run()
    wait_until(ready(scene), "the agent is ready")
    scene.send(prompt="sleep 20")
    wait_until(begun(scene), "the first is begun")
    scene.send(prompt="next")
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert scene.left() == (1, 1)
        time.sleep(0.1)


@pytest.mark.chaos
def test_an_idle_agent_is_never_short_of_what_a_busy_one_holds(scene: Scene, run: Run) -> None:
    for number in (0, 1):
        run()
        wait_until(ready(scene, number), "both are ready")
    for _ in range(3):
        before = run.begun()
        began = time.monotonic()
        tasks = [scene.send(prompt="sleep 1.5") for _ in range(2)]
        wait_until(lambda: len(run.begun()) == len(before) + 2, "both tasks are begun")  # noqa: B023
        # At the same time, not one after the other.
        assert time.monotonic() - began < 1.4
        results = scene.wait_for_results(2)
        assert {result.task_id for result in results} == {task.task_id for task in tasks}


def test_sigterm_gives_back_what_has_not_begun_at_once_and_it_costs_no_try(
    scene: Scene, run: Run
) -> None:
    agent = run(max_receive_count=1, drain_seconds=20)
    wait_until(ready(scene), "the agent is ready")
    scene.send(prompt="sleep 4")
    wait_until(begun(scene), "the first is begun")
    waiting = scene.send(prompt="next")
    wait_until(lambda: scene.left() == (0, 2), "the second is in hand", seconds=3.9)
    agent.send_signal(signal.SIGTERM)
    wait_until(lambda: scene.left() == (1, 1), "the second is there for others", seconds=1.5)
    assert agent.wait(10) == 0
    (first,) = scene.wait_for_results(1)
    assert first.status == "succeeded"
    run(max_receive_count=1)
    (second,) = scene.wait_for_results(1)
    assert (second.task_id, second.status) == (waiting.task_id, "succeeded")


@pytest.mark.chaos
def test_a_drain_in_the_middle_of_a_task_costs_it_no_try(scene: Scene, run: Run) -> None:
    task = scene.send(prompt="sleep 3")
    for number in range(3):
        agent = run(max_receive_count=1, drain_seconds=1)
        wait_until(begun(scene, number), "it is begun")
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(10) == 0
        assert scene.left() == (1, 0)
    run(max_receive_count=1)
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status) == (task.task_id, "succeeded")
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.chaos
def test_what_turns_out_to_wait_for_long_is_given_back_and_it_costs_no_try(
    scene: Scene, run: Run
) -> None:
    run(max_receive_count=1)
    wait_until(ready(scene), "the agent is ready")
    scene.send(prompt="stall 25")
    wait_until(begun(scene), "the first is begun")
    waiting = scene.send(prompt="next")
    wait_until(lambda: scene.left() == (0, 2), "the second is in hand")
    run(max_receive_count=1)
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status, result.attempt) == (waiting.task_id, "succeeded", 1)
    assert log(scene, 0).count('"started"') == 1


@pytest.mark.slow
def test_what_the_engine_was_told_of_already_is_given_back_too(scene: Scene, run: Run) -> None:
    """The first task's last step is done, and so the engine has the second one's command."""
    agent = run(max_receive_count=1, drain_seconds=3)
    wait_until(ready(scene), "the agent is ready")
    scene.send(prompt="sleep 1")
    wait_until(begun(scene), "the first is begun")
    tasks = [scene.send(prompt=prompt) for prompt in ("late 2", "next")]
    wait_until(lambda: run.begun()[tasks[0].task_id] == 1, "the second is begun")
    wait_until(lambda: scene.left() == (0, 2), "the third is in hand")
    agent.send_signal(signal.SIGTERM)
    wait_until(lambda: scene.left() == (1, 1), "the third is there for others", seconds=1)
    assert agent.wait(10) == 0
    assert [result.status for result in scene.wait_for_results(2)] == ["succeeded"] * 2
    assert scene.left() == (1, 0)
    assert not run.begun()[tasks[1].task_id]


def test_a_task_that_comes_twice_to_a_busy_agent_runs_once(scene: Scene, run: Run) -> None:
    run()
    wait_until(ready(scene), "the agent is ready")
    task = scene.send(prompt="sleep 2")
    wait_until(begun(scene), "it is begun")
    scene.send_again(task)
    (result,) = scene.wait_for_results(1)
    wait_until(lambda: scene.left() == (0, 1), "the second copy waits out of sight")
    assert result.status == "succeeded"
    assert run.begun() == {task.task_id: 1}


@pytest.mark.chaos
def test_a_held_task_is_kept_while_the_one_before_it_runs(scene: Scene, run: Run) -> None:
    """Leases are shorter than the tasks, and another agent waits for any that lapses."""
    for number in (0, 1):
        run(lease_seconds=5)
        wait_until(ready(scene, number), "both are ready")
    tasks = [scene.send(prompt="sleep 2") for _ in range(8)]
    results = scene.wait_for_results(8, seconds=30)
    assert {result.task_id for result in results} == {task.task_id for task in tasks}
    assert all(count == 1 for count in run.begun().values())
