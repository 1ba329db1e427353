"""A client changes its mind, through the real API."""

from __future__ import annotations

import urllib.request

import pytest

from cdk_stable_diffusion.contract import TaskProgress
from cdk_stable_diffusion.local.client import ProblemAnswer
from tests.end_to_end.running import Service, until


@pytest.mark.slow
def test_a_task_is_found_by_its_location_and_cancelled(service: Service) -> None:
    client = service.client
    task = {
        "model": "tiny-shapes",
        "prompt": "a red circle on a blue background",
        "idempotency_key": "changed-my-mind",
        "output_prefix": "shop/7",
        # Most of a minute on two cores.
        "steps": 150,
        "width": 256,
        "height": 256,
    }
    accepted = client.submit(task)
    begun = {"task_id": accepted.task_id, "message": "started"}
    until(lambda: any(begun.items() <= line.items() for line in service.log("tiny-shapes")), "it")
    request = urllib.request.Request(
        client.endpoint + accepted.task_path, headers={"x-api-key": client.api_key}
    )
    with urllib.request.urlopen(request) as answer:
        assert TaskProgress.from_json(answer.read().decode()).status in ("queued", "running")
    assert client.cancel(accepted.task_id, "shop/7")["status"] == "cancelling"
    ((result,),) = service.results([accepted.task_id]).values()
    assert (result.status, result.images) == ("cancelled", ())
    assert result.timings.generating_seconds < 20
    assert client.status(accepted.task_id, "shop/7") == result.to_dict()

    # The same request is the same task, and stays cancelled.
    assert client.submit(task).task_id == accepted.task_id
    assert service.results([accepted.task_id]) == {accepted.task_id: [result]}

    small = client.submit({"model": "tiny-shapes", "prompt": "a blue star", "steps": 2})
    service.results([small.task_id])
    with pytest.raises(ProblemAnswer, match="409 Conflict"):
        client.cancel(small.task_id)
    until(lambda: set(service.messages().values()) == {0}, "all queues are empty")
