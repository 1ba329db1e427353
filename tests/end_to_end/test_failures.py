"""An agent dies in the middle of a task: nothing is lost, nothing is done twice."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.end_to_end.running import Service, processes_of, until

RUNTIME = "any-model"
LONG_TASK = {
    "model": "tiny-shapes-copy",
    "prompt": "a red circle on a blue background",
    "steps": 150,
    "num_images": 2,
    "seed": 1,
}


def agent_that_started(service: Service, task_id: str) -> int | None:
    """Return the process of the agent that works on a task, once one does."""
    for process_id, command in processes_of(service.up.mark).items():
        if "runtime_image.agent" not in command:
            continue
        try:
            log = os.readlink(f"/proc/{process_id}/fd/1")
            with open(log, encoding="utf-8") as lines:
                if any("started" in line and task_id in line for line in lines):
                    return process_id
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_a_task_of_a_killed_agent_is_completed_elsewhere_once(service: Service) -> None:
    accepted = service.client.submit(LONG_TASK)
    killed = until(lambda: agent_that_started(service, accepted.task_id), "an agent has the task")
    os.kill(killed, signal.SIGKILL)
    killed_at = time.monotonic()

    (result,) = service.results([accepted.task_id], 60)[accepted.task_id]
    assert time.monotonic() - killed_at >= 0.5, "it had been done before its agent was killed"
    assert result.status == "succeeded", result.error
    assert result.attempt == 2
    assert len(result.images) == 2

    # One result, and no message left that could make another.
    until(lambda: set(service.messages().values()) == {0}, "all queues are empty")
    time.sleep(0.2)
    assert service.take_results(wait_seconds=1) == []
    ended = [
        each
        for each in service.log(RUNTIME)
        if each.get("task_id") == accepted.task_id and each["message"] in ("succeeded", "failed")
    ]
    assert [each["message"] for each in ended] == ["succeeded"]

    # The supervisor has put another agent in its place.
    until(lambda: len(agents_of(service)) == 2, "another agent runs")
    assert killed not in agents_of(service)


def agents_of(service: Service) -> set[int]:
    of_runtime = processes_of(f"SD_RUNTIME_NAME={RUNTIME}")
    return {
        process_id
        for process_id, command in processes_of(service.up.mark).items()
        if process_id in of_runtime and "runtime_image.agent" in command
    }
