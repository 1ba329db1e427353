"""What comes on the queue of a real agent that is no task, or a task that came before."""

from __future__ import annotations

import json

import pytest

from tests.agent.processes import Run, ready
from tests.agent.scene import Scene, wait_until


def test_what_is_no_task_of_this_version_becomes_a_dead_letter_with_the_reason(
    scene: Scene, run: Run
) -> None:
    run()
    task = scene.task().to_json()
    reasons = {
        "no JSON": "is not JSON",
        "{}": "/task_id: is missing",
        json.dumps({**json.loads(task), "version": "2"}): "/version",
        "[" * 100_000: "nested too deeply",
        task.replace("a red circle", "\\ud800"): "lone surrogate",
        '{"version": ' + "9" * 5_000 + "}": "digits",
    }
    for text in reasons:
        scene.send_text(text)
    good = scene.send()
    (result,) = scene.wait_for_results(1)
    assert (result.task_id, result.status) == (good.task_id, "succeeded")
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")
    for letter in scene.wait_for_dead_letters(len(reasons)):
        attributes = letter["MessageAttributes"]
        assert attributes["error_code"]["StringValue"] == "invalid-message"
        assert reasons.pop(letter["Body"]) in attributes["error_detail"]["StringValue"]
    assert not reasons


def test_a_task_that_comes_again_later_is_announced_again_and_not_drawn(
    scene: Scene, run: Run
) -> None:
    run()
    task = scene.send(prompt="random 0.1")
    (first,) = scene.wait_for_results(1)
    scene.send_again(task)
    (second,) = scene.wait_for_results(1)
    assert second == first
    wait_until(lambda: scene.left() == (0, 0), "the message is deleted")
    assert run.begun() == {task.task_id: 1}


@pytest.mark.chaos
def test_a_task_that_fails_on_one_gpu_and_not_on_another_at_once_has_one_result(
    scene: Scene, run: Run
) -> None:
    for number in (0, 1):
        run(prefetch_tasks=0, max_receive_count=1)
        wait_until(ready(scene, number), "both are ready")
    for number in range(5):
        task = scene.task(prompt=f"exit once {scene.directory / f'failed-{number}'}")
        scene.send_again(task)
        scene.send_again(task)
        first, second = scene.wait_for_results(2)
        assert first == second
        assert scene.stored_result(task) == first.to_dict()
    wait_until(lambda: scene.left() == (0, 0), "the messages are deleted")
