"""How the demo ends when something goes wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

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


def accepted_task() -> TaskAccepted:
    return TaskAccepted(
        task_id=TASK_ID,
        model="tiny-shapes",
        runtime="tiny-shapes",
        runtime_class="static",
        output_location="s3://b/",
        submitted_at=timestamp(),
        task_path=f"/v1/tasks/{TASK_ID}",
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "LocalService", Broken)
    assert demo.main(["--output", str(tmp_path)]) == 1
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
    accepted = accepted_task()
    sent = [demo.Sent(prompt="a red circle", accepted=accepted)]
    with pytest.raises(LocalError, match=f"1 of 1 tasks have no result .* {tmp_path}"):
        demo._receive(sent, Empty(), tmp_path, say=print, tick=print)  # type: ignore[arg-type]


def test_a_failed_result_is_a_failure_with_its_reason() -> None:
    assert failures([FAILED]) == [f"task {TASK_ID} failed: model-not-found: there is no such model"]


def test_a_cancelled_task_is_told_apart_from_one_that_failed() -> None:
    cancelled = replace(FAILED, status="cancelled", error=None)
    assert failures([cancelled]) == [f"task {TASK_ID} was cancelled"]
    assert failures([replace(cancelled, status="succeeded")]) == []


def test_an_output_that_cannot_be_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert demo.main(["--output", str(tmp_path / "file" / "folder")]) == 1
    assert "demo: cannot make the directory" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A red circle", "a-red-circle"),
        ("red/../../etc/passwd", "red-etc-passwd"),
        ("..", "picture"),
        ("\N{LARGE RED CIRCLE}" * 200, "picture"),
        ("青い背景に大きな赤い円", "picture"),
        ("\"a\" 'b' $(c)\n\0", "a-b-c"),
        ("", "picture"),
        ("a" * 300, "a" * 60),
    ],
)
def test_no_prompt_becomes_a_path(tmp_path: Path, prompt: str, slug: str) -> None:
    class Saver:
        def save(self, result: ResultMessage, directory: Path) -> list[Path]:
            file = directory / "saved.png"
            Image.new("RGB", (8, 8)).save(file)
            return [file]

    output = tmp_path / "output"
    output.mkdir()
    (output / "01-of-an-earlier-run.png").write_text("")
    (output / "holiday.png").write_text("")
    accepted = accepted_task()
    sent = [demo.Sent(prompt=prompt, accepted=accepted)]
    files = demo._save(sent, {TASK_ID: FAILED}, Saver(), output)  # type: ignore[arg-type]
    assert files == [output / f"01-{slug}.png"]
    assert sorted(each.name for each in output.iterdir()) == sorted(
        [files[0].name, demo.SHEET, "holiday.png"]
    )
    assert list(tmp_path.iterdir()) == [output]


def test_there_are_six_prompts_for_both_models() -> None:
    assert len(demo.PROMPTS) == 6
    assert len(SHIPPED) == 2
