"""How the demo ends when something goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdk_stable_diffusion.contract import ResultMessage, TaskAccepted, TaskError, Timings, timestamp
from cdk_stable_diffusion.local import demo
from cdk_stable_diffusion.local.client import failures
from cdk_stable_diffusion.local.errors import LocalError
from cdk_stable_diffusion.local.publishing import SHIPPED

TASK_ID = "00000000-0000-4000-8000-000000000000"
FAILED = ResultMessage(
    task_id=TASK_ID,
    status="failed",
    model="tiny-shapes",
    runtime="tiny-shapes",
    runtime_class="static",
    task_type="text-to-image",
    timings=Timings(timestamp(), timestamp(), timestamp(), 0.0, 0.0, 0.0, 0.0),
    error=TaskError("model-not-found", "there is no such model"),
)


class Broken:
    """A service that does not come up."""

    def __init__(self, **options: object) -> None:
        pass

    def __enter__(self) -> Broken:
        raise LocalError("the app failed: Model.static() needs a name")

    def __exit__(self, *error: object) -> None:
        pass


def test_a_service_that_does_not_come_up_is_told_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "LocalService", Broken)
    assert demo.main([]) == 1
    said = capsys.readouterr().out
    assert "demo: the app failed: Model.static() needs a name" in said
    assert "Traceback" not in said


def test_time_that_runs_out_is_an_error_that_names_the_logs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Empty:
        def receive(self) -> list[ResultMessage]:
            return []

    monkeypatch.setattr(demo, "WAIT_SECONDS", 0.0)
    accepted = TaskAccepted(TASK_ID, "tiny-shapes", "tiny-shapes", "static", "s3://b/", timestamp())
    sent = [demo.Sent(prompt="a red circle", accepted=accepted)]
    with pytest.raises(LocalError, match=f"1 of 1 tasks have no result .* {tmp_path}"):
        demo._receive(sent, Empty(), tmp_path, say=print, tick=print)  # type: ignore[arg-type]


def test_a_failed_result_is_a_failure_with_its_reason() -> None:
    assert failures([FAILED]) == [f"task {TASK_ID} failed: model-not-found: there is no such model"]


def test_there_are_six_prompts_for_both_models() -> None:
    assert len(demo.PROMPTS) == 6
    assert len(SHIPPED) == 2
