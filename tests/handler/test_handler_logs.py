"""What the function writes to its log, and what it must never write."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cdk_stable_diffusion.contract import metrics
from cdk_stable_diffusion.handler.submit import PublishFailed
from tests.handler.fakes import API_KEY, Service

PROMPT = "a very private prompt"
TASK = {
    "model": "tiny-shapes",
    "prompt": PROMPT,
    "negative_prompt": "private too",
    "context": {"customer": "private-customer"},
    "idempotency_key": "private-key",
}


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.err == ""
    return [json.loads(line) for line in captured.out.splitlines()]


def metric_values(line: dict[str, Any]) -> dict[str, int]:
    """What CloudWatch would read from a line."""
    return {
        metric["Name"]: line[metric["Name"]]
        for group in line["_aws"]["CloudWatchMetrics"]
        for metric in group["Metrics"]
    }


def test_an_accepted_task_is_one_line(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    _status, document, _headers = service.send(TASK)
    (line,) = lines(capsys)
    assert line["message"] == "task accepted"
    assert line["level"] == "INFO"
    assert line["task_id"] == document["task_id"]
    assert (line["model"], line["runtime"], line["status"]) == ("tiny-shapes", "tiny", 202)
    assert line["request_id"] == "lambda-request-1"
    assert line["duration_milliseconds"] >= 0
    assert metric_values(line) == {metrics.TASKS_ACCEPTED: 1}


def test_a_refused_task_is_counted_by_status(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.send({**TASK, "steps": 0})
    (line,) = lines(capsys)
    assert (line["message"], line["status"], line["faults"]) == ("task refused", 400, 1)
    assert metric_values(line) == {metrics.TASKS_REFUSED: 1}
    (group,) = line["_aws"]["CloudWatchMetrics"]
    assert group["Namespace"] == metrics.METRIC_NAMESPACE
    assert group["Dimensions"] == [["Function"], ["Function", "Status"]]
    assert line["Status"] == "400"
    for dimensions in group["Dimensions"]:
        assert all(isinstance(line[name], str) for name in dimensions)


def test_a_failure_to_publish_names_its_cause(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.publisher.error = PublishFailed("Throttling")
    service.send(TASK)
    (line,) = lines(capsys)
    assert (line["level"], line["cause"], line["status"]) == ("ERROR", "Throttling", 503)
    assert metric_values(line) == {metrics.TASKS_REFUSED: 1, metrics.PUBLISH_FAILURES: 1}


def test_an_unexpected_error_says_where(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.publisher.error = KeyError(PROMPT)
    service.send(TASK)
    (line,) = lines(capsys)
    assert (line["level"], line["error"], line["status"]) == ("ERROR", "KeyError", 500)
    assert any("submit.py" in frame for frame in line["frames"])


def test_a_catalogue_that_is_down_is_noted(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.catalogue.down = True
    service.send({**TASK, "model": "somewhere"})
    warning, accepted = lines(capsys)
    assert warning["level"] == "WARNING"
    assert "SlowDown" in warning["message"]
    assert accepted["status"] == 202


@pytest.mark.parametrize(
    ("body", "options", "error"),
    [
        (TASK, {}, None),
        ({**TASK, "prompt": [PROMPT]}, {}, None),
        ({**TASK, PROMPT: 1}, {}, None),
        ({**TASK, "model": PROMPT}, {}, None),
        ({**TASK, "scheduler": PROMPT}, {}, None),
        (PROMPT, {}, None),
        (TASK, {"method": "GET"}, None),
        (TASK, {"resource": "/" + PROMPT}, None),
        (TASK, {"headers": {"content-type": PROMPT}}, None),
        (TASK, {"headers": {"authorization": PROMPT}}, None),
        (TASK, {}, PublishFailed("Throttling")),
        (TASK, {}, ValueError(PROMPT)),
    ],
)
def test_nothing_that_a_client_sends_is_logged(
    service: Service,
    capsys: pytest.CaptureFixture[str],
    body: Any,
    options: dict[str, Any],
    error: Exception | None,
) -> None:
    service.publisher.error = error
    service.send(body, **options)
    written = "".join(capsys.readouterr())
    assert written
    assert API_KEY not in written
    assert "private" not in written
