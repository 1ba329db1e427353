"""The engine fails under a real agent: it is replaced, and no other task suffers."""

from __future__ import annotations

import hashlib
import os
import signal

import pytest

from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from tests.agent.agent_process import STAND_IN
from tests.agent.processes import Run, begun, log, ready
from tests.agent.scene import Scene, wait_until
from tests.agent.stand_in_engine import WAYS_TO_FAIL

_SHOWS = {
    "die": "SIGSEGV",
    "abort": "SIGABRT",
    "killed": "SIGKILL",
    "exit": "exit status 1",
    "break": "CUDA error",
    "memory": "CUDA out of memory",
    "hang": "took longer than 1 s",
    "stop": "took longer than 1 s",
    "mute": "the engine ended",
    "babble": "the engine ended",
    "break-off": "the engine ended",
}
"""What the result says of each way in which the engine fails."""

_COMMON_WAYS = ("die", "break", "memory", "hang")


@pytest.mark.parametrize(
    "ways",
    [
        pytest.param(_COMMON_WAYS, id="common"),
        pytest.param(tuple(WAYS_TO_FAIL), marks=pytest.mark.chaos, id="all"),
    ],
)
def test_each_failure_of_the_engine_costs_its_task_one_try_and_no_other_task_any(
    scene: Scene, run: Run, ways: tuple[str, ...]
) -> None:
    run(task_timeout_seconds=1, lease_seconds=5, max_receive_count=2)
    good = [scene.send(prompt=f"good {way}") for way in ways]
    bad = [scene.send(prompt=f"{way} once {scene.directory / way}") for way in ways]
    results = {each.task_id: each for each in scene.wait_for_results(2 * len(ways), seconds=60)}
    assert {result.status for result in results.values()} == {"succeeded"}
    assert {results[task.task_id].attempt for task in good} == {1}
    assert {results[task.task_id].attempt for task in bad} == {2}
    wait_until(lambda: scene.left() == (0, 0), "the messages are deleted")
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.chaos
def test_each_failure_that_stays_ends_in_the_dead_letters_with_its_reason(
    scene: Scene, run: Run
) -> None:
    for _ in range(2):
        run(task_timeout_seconds=1, lease_seconds=5, max_receive_count=2)
    tasks = {way: scene.send(prompt=way) for way in WAYS_TO_FAIL}
    results = {each.task_id: each for each in scene.wait_for_results(len(tasks), seconds=90)}
    letters = {letter["Body"]: letter for letter in scene.wait_for_dead_letters(len(tasks))}
    for way, task in tasks.items():
        error = results[task.task_id].error
        assert error is not None and _SHOWS[way] in error.detail, way
        detail = letters[task.to_json()]["MessageAttributes"]["error_detail"]["StringValue"]
        assert _SHOWS[way] in detail, way
    # No lease has lapsed: each was begun as often as it is tried.
    assert run.begun() == {task.task_id: 2 for task in tasks.values()}
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")


@pytest.mark.chaos
def test_the_lease_of_a_task_that_hangs_is_kept_until_the_deadline(scene: Scene, run: Run) -> None:
    for number in (0, 1):
        run(task_timeout_seconds=12, lease_seconds=5, max_receive_count=1)
        wait_until(ready(scene, number), "both are ready")
    task = scene.send(prompt="hang")
    (result,) = scene.wait_for_results(1, seconds=30)
    assert result.error is not None
    assert (result.error.code, result.attempt) == ("deadline-exceeded", 1)
    assert run.begun() == {task.task_id: 1}


def test_a_task_with_too_many_steps_for_its_time_fails_at_once_and_for_good(
    scene: Scene, run: Run
) -> None:
    run(task_timeout_seconds=1, max_receive_count=3)
    task = scene.send(prompt="sleep 30")
    (result,) = scene.wait_for_results(1)
    assert result.error is not None
    assert (result.error.code, result.attempt) == ("deadline-exceeded", 1)
    # The engine is the same, with its model.
    scene.send()
    assert scene.wait_for_results(1)[0].timings.loading_seconds == 0
    assert "engine ended" not in log(scene)
    assert run.begun()[task.task_id] == 1
    wait_until(lambda: scene.left() == (0, 0), "the messages are deleted")
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.parametrize("count", [20, pytest.param(100, marks=pytest.mark.chaos)])
def test_a_poisonous_task_among_good_ones_is_the_only_one_that_fails(
    scene: Scene, run: Run, count: int
) -> None:
    for _ in range(2):
        run()
    good = [scene.send(prompt=f"good {n}") for n in range(count // 2)]
    poison = scene.send(prompt="die")
    good += [scene.send(prompt=f"good {n}") for n in range(count // 2, count)]
    results = {result.task_id: result for result in scene.wait_for_results(count + 1, seconds=60)}
    assert {task.task_id for task in (*good, poison)} == set(results)
    failed = [result for result in results.values() if result.status == "failed"]
    assert [result.task_id for result in failed] == [poison.task_id]
    assert failed[0].error is not None and "SIGSEGV" in failed[0].error.detail
    assert scene.wait_for_dead_letter()["Body"] == poison.to_json()
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")
    counts = run.begun()
    assert counts.pop(poison.task_id) == scene.environment.max_receive_count
    assert set(counts.values()) == {1}


def test_the_same_task_on_two_gpus_at_once_has_one_result_that_fits_its_picture(
    scene: Scene, run: Run
) -> None:
    for number in (0, 1):
        run(prefetch_tasks=0)
        wait_until(ready(scene, number), "both are ready")
    task = scene.task(prompt="random 2")
    scene.send_again(task)
    scene.send_again(task)
    first, second = scene.wait_for_results(2)
    assert first == second
    # The two drew different pictures; what is stored is what the result is about.
    assert run.begun()[task.task_id] == 2
    (image,) = first.images
    assert hashlib.sha256(scene.read(image.key)).hexdigest() == image.sha256


@pytest.mark.chaos
def test_a_message_whose_receipt_has_run_out_is_no_second_run(scene: Scene, run: Run) -> None:
    """The agent stands still for longer than its lease, as on a machine that sleeps."""
    agent = run(lease_seconds=5)
    wait_until(ready(scene), "the agent is ready")
    task = scene.send(prompt="sleep 1")
    wait_until(begun(scene), "it is begun")
    agent.send_signal(signal.SIGSTOP)
    wait_until(lambda: scene.left() == (1, 0), "the lease has ended", seconds=10)
    agent.send_signal(signal.SIGCONT)
    results = scene.wait_for_results(1)
    # Deleted, or put away where it came to the same agent before the first run's end.
    wait_until(lambda: scene.left()[0] == 0, "nobody else gets it")
    results += scene.more_results()
    assert all(result == results[0] for result in results)
    assert results[0].status == "succeeded"
    assert run.begun()[task.task_id] == 1


def test_an_engine_that_hangs_in_its_imports_is_replaced(scene: Scene) -> None:
    flag = scene.directory / "hung"
    engine = ChildEngine((*STAND_IN, "--import-forever-once", str(flag)), import_seconds=2.0)
    engine.start()
    try:
        wait_until(flag.exists, "it hangs")
        first = engine.process_id
        assert engine.wait_until_ready(20)
        assert engine.process_id != first
        assert first is not None
        try:
            os.kill(first, 0)
        except ProcessLookupError:
            pass
        else:
            raise AssertionError("the one that hung still runs")
    finally:
        engine.close()


@pytest.mark.chaos
def test_tasks_in_hand_survive_a_crash_of_the_engine(scene: Scene, run: Run) -> None:
    run(max_receive_count=2)
    wait_until(ready(scene), "the agent is ready")
    tasks = [scene.send(prompt=f"die once {scene.directory / 'died'}")]
    tasks += [scene.send(prompt=f"good {n}") for n in range(4)]
    results = scene.wait_for_results(5)
    assert {result.task_id for result in results} == {task.task_id for task in tasks}
    assert {result.status for result in results} == {"succeeded"}
    assert sum(run.begun().values()) == 6
