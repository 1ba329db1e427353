"""What is stored in the output bucket stands."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cdk_stable_diffusion.contract import ResultMessage, TaskError, TaskMessage, Timings
from cdk_stable_diffusion.runtime_image.agent.outputs import Outputs
from tests.agent.scene import Scene
from tests.agent.test_aws_errors import error

_TIME = "2026-11-23T12:00:00.000Z"
_TIMINGS = Timings(_TIME, _TIME, _TIME, 0.0, 0.0, 0.0, 0.0)


def _result(task: TaskMessage, **changes: Any) -> ResultMessage:
    success = ResultMessage(
        task_id=task.task_id,
        status="succeeded",
        model=task.request.model,
        runtime=task.runtime,
        runtime_class=task.runtime_class,
        task_type=task.request.task_type,
        timings=_TIMINGS,
    )
    return replace(success, **changes)


def _failure(task: TaskMessage) -> ResultMessage:
    return _result(task, status="failed", error=TaskError("generation-failed", "no"))


def _outputs(scene: Scene) -> Outputs:
    return Outputs(scene.clients().s3, scene.output_bucket)


def test_a_result_that_may_not_be_read_is_never_replaced(scene: Scene) -> None:
    task = scene.task()
    standing = _outputs(scene).put_result(task, _result(task), replace_failure=False)
    s3 = scene.clients().s3

    def deny(**_: Any) -> None:
        raise error(403, "AccessDenied", "Access Denied")

    s3.meta.events.register("provide-client-params.s3.GetObject", deny)
    blind = Outputs(s3, scene.output_bucket)
    # It cannot be told from one that is not there, until it is to be written.
    assert blind.find_result(task) is None
    with pytest.raises(ClientError, match="AccessDenied"):
        blind.put_result(task, _failure(task), replace_failure=False)
    assert scene.stored_result(task) == standing.to_dict()


def test_of_two_agents_that_replace_a_failure_one_is_first(scene: Scene) -> None:
    task = scene.task()
    _outputs(scene).put_result(task, _failure(task), replace_failure=False)
    s3 = scene.clients().s3
    first, second = _result(task, attempt=1), _result(task, attempt=2)

    def be_faster(params: dict[str, Any], **_: Any) -> None:
        if "IfMatch" in params:
            assert _outputs(scene).put_result(task, first, replace_failure=True) == first

    s3.meta.events.register_first("provide-client-params.s3.PutObject", be_faster)
    slower = Outputs(s3, scene.output_bucket)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        slower.put_result(task, second, replace_failure=True)
    # As the agent tries again whatever failed.
    assert slower.put_result(task, second, replace_failure=True) == first
    assert scene.stored_result(task) == first.to_dict()


def test_a_picture_that_is_there_stays(scene: Scene) -> None:
    task = scene.task()
    outputs = _outputs(scene)
    key, stored = outputs.put_picture(task, 0, b"one", "image/png")
    assert outputs.put_picture(task, 0, b"another", "image/png") == (key, stored) == (key, b"one")
    assert scene.read(key) == b"one"
