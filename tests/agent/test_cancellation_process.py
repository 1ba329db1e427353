"""Cancellation with real processes: agent, engine, and a network that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import Fault, Kind
from benchmarks.proxy import Proxy
from tests.agent.processes import Run, begun, log
from tests.agent.scene import Scene, wait_until


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOK_SECONDS", "0.1")


def test_a_running_task_stops_within_one_step_of_the_engine(scene: Scene, run: Run) -> None:
    run()
    steps = scene.directory / "steps"
    waiting = scene.task(prompt="sleep 30")
    scene.cancel(waiting)
    scene.send_again(waiting)
    running = scene.send(prompt=f"count {steps} 30")
    wait_until(lambda: running.task_id in run.begun(), "it is begun")
    scene.cancel(running)
    results = scene.wait_for_results(2)
    assert {(result.task_id, result.status) for result in results} == {
        (waiting.task_id, "cancelled"),
        (running.task_id, "cancelled"),
    }
    heard_at, stopped_at = map(int, Path(steps).read_text().split())
    assert stopped_at - heard_at <= 1
    next_one = scene.send(prompt="next")
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status) == (next_one.task_id, "succeeded")
    # The one that was cancelled while it waited was never begun, and no message was given up.
    assert run.begun() == {running.task_id: 1, next_one.task_id: 1}
    wait_until(lambda: scene.left() == (0, 0), "the messages are deleted")
    assert scene.left(scene.dead_letters) == (0, 0)


@pytest.mark.parametrize("kind", [Kind.ERROR, Kind.HANG])
def test_looks_and_reports_that_fail_harm_no_task(
    scene: Scene, run: Run, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    proxy.plan.set(
        Fault(operation="s3.HeadObject", kind=kind),
        Fault(operation="s3.PutObject", path="*/progress.json", kind=kind),
    )
    monkeypatch.setenv("REPORT_SECONDS", "0.1")
    run(endpoint=proxy.url)
    tasks = [scene.send(prompt="sleep 0.5") for _ in range(2)]
    results = scene.wait_for_results(2)
    assert {result.task_id for result in results} == {task.task_id for task in tasks}
    assert {(result.status, result.attempt) for result in results} == {("succeeded", 1)}
    assert set(run.begun().values()) == {1}
    assert proxy.plan.met["s3.HeadObject", kind] > 0
    assert proxy.plan.met["s3.PutObject", kind] > 0


def test_a_wish_is_heard_when_s3_is_well_again(scene: Scene, run: Run, proxy: Proxy) -> None:
    proxy.plan.set(Fault(operation="s3.HeadObject", kind=Kind.ERROR))
    task = scene.send(prompt="sleep 30")
    scene.cancel(task)
    run(endpoint=proxy.url)
    wait_until(begun(scene), "it is begun")
    wait_until(lambda: "could not look" in log(scene), "a look has failed")
    proxy.plan.set()
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status) == (task.task_id, "cancelled")
