"""The engine fails under a real agent: it is replaced, and no other task suffers."""

from __future__ import annotations

import hashlib
import os
import signal

from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from tests.agent.agent_process import STAND_IN
from tests.agent.processes import Run, begun, ready
from tests.agent.scene import Scene, wait_until


def test_a_poisonous_task_among_good_ones_is_the_only_one_that_fails(
    scene: Scene, run: Run
) -> None:
    for _ in range(2):
        run()
    good = [scene.send(prompt=f"good {n}") for n in range(15)]
    poison = scene.send(prompt="die")
    good += [scene.send(prompt=f"good {n}") for n in range(15, 30)]
    results = {result.task_id: result for result in scene.wait_for_results(31, seconds=60)}
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


def test_tasks_in_hand_survive_a_crash_of_the_engine(scene: Scene, run: Run) -> None:
    run(max_receive_count=2)
    wait_until(ready(scene), "the agent is ready")
    tasks = [scene.send(prompt=f"die once {scene.directory / 'died'}")]
    tasks += [scene.send(prompt=f"good {n}") for n in range(4)]
    results = scene.wait_for_results(5)
    assert {result.task_id for result in results} == {task.task_id for task in tasks}
    assert {result.status for result in results} == {"succeeded"}
    assert sum(run.begun().values()) == 6
