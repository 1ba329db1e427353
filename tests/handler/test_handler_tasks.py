"""What a client is told of a task, and what becomes of its wish to cancel one."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError, ResponseStreamingError
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator
from moto import mock_aws

from cdk_stable_diffusion.contract import TaskProgress, TaskReference, schemas
from cdk_stable_diffusion.contract.keys import cancel_key, progress_key, result_key
from cdk_stable_diffusion.handler import app
from cdk_stable_diffusion.handler.adapters import S3_CONFIG, S3TaskFolders
from cdk_stable_diffusion.handler.tasks import Tasks, TasksUnavailable
from tests.handler.fakes import Context, FakeFolders, Service, event, served

TASK_ID = "12345678-1234-4234-8234-123456789012"
TASK = TaskReference(TASK_ID)
GOOD = {"model": "tiny-shapes", "prompt": "a large red circle on a blue background"}
RUNNING = TaskProgress(
    TASK_ID,
    "running",
    updated_at="2026-01-31T11:59:57.000Z",
    model="tiny-shapes",
    runtime="tiny",
    attempt=1,
    started_at="2026-01-31T11:59:40.000Z",
    step=12,
    steps=150,
)
PROBLEM = Draft4Validator(schemas.schema("problem"))
PROGRESS = Draft4Validator(schemas.schema("task-progress"))


def result(status: str) -> dict[str, Any]:
    return {"version": "1", "task_id": TASK_ID, "status": status, "images": []}


def test_a_task_that_nobody_has_begun_is_queued_and_so_is_one_that_never_was(
    service: Service,
) -> None:
    status, document, headers = service.ask("GET", TASK_ID)
    assert (status, document) == (200, {"version": "1", "task_id": TASK_ID, "status": "queued"})
    PROGRESS.validate(document)
    assert (headers["Content-Type"], headers["Cache-Control"]) == ("application/json", "no-store")


def test_a_running_task_tells_its_steps(service: Service) -> None:
    service.folders.reports[TASK] = RUNNING
    status, document, _ = service.ask("GET", TASK_ID)
    assert (status, document) == (200, RUNNING.to_dict())
    assert (document["step"], document["steps"]) == (12, 150)
    PROGRESS.validate(document)


def test_an_agent_that_has_said_nothing_for_a_minute_is_gone(service: Service) -> None:
    service.folders.reports[TASK] = RUNNING
    service.now += timedelta(seconds=56)
    assert service.ask("GET", TASK_ID)[1]["status"] == "running"
    service.now += timedelta(seconds=1)
    assert service.ask("GET", TASK_ID)[1]["status"] == "queued"


def test_a_report_without_a_time_is_none(service: Service) -> None:
    service.folders.reports[TASK] = replace(RUNNING, updated_at=None)
    assert service.ask("GET", TASK_ID)[1]["status"] == "queued"


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "cancelled"])
def test_a_task_that_has_ended_is_its_result(service: Service, outcome: str) -> None:
    service.folders.results[TASK] = result(outcome)
    service.folders.reports[TASK] = RUNNING
    service.folders.cancelled[TASK] = TaskProgress(TASK_ID, "cancelling")
    assert service.ask("GET", TASK_ID)[:2] == (200, result(outcome))


def test_a_cancellation_is_asked_for_once_and_for_all(service: Service) -> None:
    for _ in range(2):
        status, document, _ = service.ask("DELETE", TASK_ID)
        assert status == 202
        PROGRESS.validate(document)
        assert document == {
            "version": "1",
            "task_id": TASK_ID,
            "status": "cancelling",
            "updated_at": "2026-01-31T12:00:00.000Z",
        }
    assert service.folders.cancelled == {TASK: TaskProgress(**document)}
    assert service.ask("GET", TASK_ID)[1] == document


def test_a_running_task_tells_its_steps_while_it_is_cancelled(service: Service) -> None:
    service.folders.reports[TASK] = RUNNING
    service.ask("DELETE", TASK_ID)
    assert service.ask("GET", TASK_ID)[1] == {**RUNNING.to_dict(), "status": "cancelling"}


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_what_has_ended_cannot_be_cancelled(service: Service, outcome: str) -> None:
    service.folders.results[TASK] = result(outcome)
    status, document, headers = service.ask("DELETE", TASK_ID)
    assert (status, headers["Content-Type"]) == (409, "application/problem+json")
    PROBLEM.validate(document)
    assert document["detail"] == f"The task has ended already: it has {outcome}."
    assert service.folders.cancelled == {}


def test_what_has_been_cancelled_may_be_cancelled_again(service: Service) -> None:
    service.folders.results[TASK] = result("cancelled")
    assert service.ask("DELETE", TASK_ID)[:2] == (200, result("cancelled"))
    assert service.folders.cancelled == {}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_where_s3_fails_the_client_is_to_come_again(service: Service, method: str) -> None:
    service.folders.down = True
    status, document, headers = service.ask(method, TASK_ID)
    assert (status, headers["Retry-After"]) == (503, "5")
    PROBLEM.validate(document)


def test_other_methods_are_refused(service: Service) -> None:
    for method in ("POST", "PUT", "PATCH"):
        status, document, headers = service.ask(method, TASK_ID)
        assert (status, headers["Allow"]) == (405, "GET, DELETE")
        PROBLEM.validate(document)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize(
    ("task_id", "query", "pointers"),
    [
        ("", {}, ["/task_id"]),
        ("x", {}, ["/task_id"]),
        (TASK_ID + "/", {}, ["/task_id"]),
        (TASK_ID.replace("-4", "-é"), {}, ["/task_id"]),
        ("..%2F" + TASK_ID, {}, ["/task_id"]),
        (TASK_ID, {"output_prefix": ["../other"]}, ["/output_prefix"]),
        (TASK_ID, {"output_prefix": [".returned"]}, ["/output_prefix"]),
        (TASK_ID, {"output_prefix": ["a\x00"]}, ["/output_prefix", "/output_prefix"]),
        (TASK_ID, {"output_prefix": ["shop", "shop"]}, ["/output_prefix"]),
        (TASK_ID, {"task_id": [TASK_ID]}, ["/task_id"]),
        (TASK_ID, {"prefix": ["shop"]}, ["/prefix"]),
        (
            "x",
            {"output_prefix": ["/"], "y": ["1", "2"]},
            ["/y", "/y", "/task_id", "/output_prefix"],
        ),
    ],
)
def test_what_names_no_task_is_refused_with_every_fault(
    service: Service, method: str, task_id: str, query: dict[str, list[str]], pointers: list[str]
) -> None:
    status, document, headers = service.ask(method, task_id, **query)
    assert (status, headers["Content-Type"]) == (400, "application/problem+json")
    PROBLEM.validate(document)
    assert [error["pointer"] for error in document["errors"]] == pointers
    assert service.folders.cancelled == {}


def test_an_id_of_the_wrong_length_is_told_the_right_one(service: Service) -> None:
    _, document, _ = service.ask("GET", "123")
    assert [error["detail"] for error in document["errors"]] == ["must have 36 characters, has 3"]


@settings(max_examples=200)
@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_is_asked_for_no_key_is_made_of_what_was_not_checked(
    task_id: str, prefix: str
) -> None:
    with served() as service:
        status, document, _ = service.ask("DELETE", task_id, output_prefix=[prefix])
        assert status == 400
        PROBLEM.validate(document)
        assert service.folders.cancelled == {}


@pytest.mark.parametrize(
    ("own_path", "front"),
    [
        ("/prod/v1/tasks", "/prod"),
        ("/v1/tasks", ""),
        ("/pictures/v1/tasks/", "/pictures"),
        ("/a/v1/tasks/v1/tasks", "/a/v1/tasks"),
        ("//elsewhere.example/v1/tasks", ""),
        ("/a\r\nb/v1/tasks", ""),
        (None, ""),
    ],
)
def test_a_task_is_found_where_its_answer_says(
    service: Service, own_path: str | None, front: str
) -> None:
    request = {**GOOD, "output_prefix": "shop/a=1"}
    status, document, headers = service.send(request, own_path=own_path)
    assert status == 202
    assert headers["Location"] == front + document["task_path"]
    parts = urlsplit(document["task_path"])
    task_id = parts.path.rpartition("/")[2]
    service.folders.reports[TaskReference(task_id, "shop/a=1")] = replace(RUNNING, task_id=task_id)
    assert service.ask("GET", task_id, **parse_qs(parts.query))[1]["status"] == "running"


def test_the_log_says_what_was_told_and_counts_no_task(
    service: Service, capsys: pytest.CaptureFixture[str]
) -> None:
    service.ask("GET", TASK_ID)
    service.ask("DELETE", TASK_ID)
    service.ask("GET", "private")
    service.folders.down = True
    service.ask("GET", TASK_ID)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [
        (line["level"], line["status"], line.get("task_status"), line.get("cause"))
        for line in lines
    ] == [
        ("INFO", 200, "queued", None),
        ("INFO", 202, "cancelling", None),
        ("INFO", 400, None, ""),
        ("ERROR", 503, None, "SlowDown"),
    ]
    assert not any("_aws" in line for line in lines)
    assert "private" not in json.dumps(lines)


# The output bucket


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An output bucket of moto's."""
    for name in ("AWS_ENDPOINT_URL", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3", config=S3_CONFIG)
        client.create_bucket(Bucket="pictures")
        yield client


@pytest.mark.parametrize("prefix", ["", "shop/7"])
def test_a_folder_holds_what_the_contract_says(s3: Any, prefix: str) -> None:
    task = TaskReference(TASK_ID, prefix)
    folders = S3TaskFolders(s3, "pictures")
    assert (folders.result(task), folders.progress(task), folders.cancellation(task)) == (None,) * 3
    request = TaskProgress(TASK_ID, "cancelling", "2026-01-31T12:00:00.000Z")
    folders.cancel(task, request)
    folders.cancel(task, request)
    assert folders.cancellation(task) == request
    (only,) = s3.list_objects_v2(Bucket="pictures")["Contents"]
    assert only["Key"] == cancel_key(prefix, TASK_ID)
    s3.put_object(Bucket="pictures", Key=progress_key(prefix, TASK_ID), Body=RUNNING.to_json())
    assert folders.progress(task) == RUNNING
    # A field of tomorrow is the client's to read.
    ended = {**result("failed"), "later": True}
    s3.put_object(Bucket="pictures", Key=result_key(prefix, TASK_ID), Body=json.dumps(ended))
    assert folders.result(task) == ended


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff",
        b"[]",
        b"{}",
        json.dumps({**result("failed"), "task_id": TASK_ID.replace("1", "2")}).encode(),
        json.dumps({**result("failed"), "status": "lost"}).encode(),
        json.dumps({**result("failed"), "x": "y" * 300_000}).encode(),
    ],
    ids=["empty", "half", "binary", "list", "blank", "another's", "unknown", "huge"],
)
def test_what_is_no_document_of_the_task_is_none(s3: Any, text: bytes) -> None:
    folders = S3TaskFolders(s3, "pictures")
    for key in (result_key("", TASK_ID), progress_key("", TASK_ID)):
        s3.put_object(Bucket="pictures", Key=key, Body=text)
    assert folders.result(TASK) is None
    assert folders.progress(TASK) is None


class Spoilt:
    """An S3 that fails at every call, or while an answer is read."""

    def __init__(self, error: Exception, *, late: bool = False) -> None:
        self._error = error
        self._late = late

    def get_object(self, **_: Any) -> dict[str, Any]:
        if not self._late:
            raise self._error
        error = self._error

        class Body(io.BytesIO):
            def read(self, _size: int | None = -1, /) -> bytes:
                raise error

        return {"Body": Body()}

    def put_object(self, **_: Any) -> None:
        raise self._error


def refused(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code}}, "Operation")


@pytest.mark.parametrize("code", ["NoSuchKey", "AccessDenied", "403", "404"])
def test_what_s3_says_of_a_missing_object_is_none(code: str) -> None:
    folders = S3TaskFolders(Spoilt(refused(code)), "pictures")
    assert folders.result(TASK) is None
    assert folders.cancellation(TASK) is None


@pytest.mark.parametrize(
    ("client", "says"),
    [
        (Spoilt(refused("SlowDown")), "SlowDown"),
        (Spoilt(refused("NoSuchBucket")), "NoSuchBucket"),
        (Spoilt(refused("ExpiredToken")), "ExpiredToken"),
        (Spoilt(ReadTimeoutError(endpoint_url="s3")), "ReadTimeoutError"),
        (Spoilt(ResponseStreamingError(error="cut"), late=True), "ResponseStreamingError"),
    ],
    ids=["slow", "no bucket", "expired", "timeout", "cut"],
)
def test_what_s3_cannot_say_is_not_none(client: Spoilt, says: str) -> None:
    folders = S3TaskFolders(client, "pictures")
    with pytest.raises(TasksUnavailable, match=says):
        folders.result(TASK)
    with pytest.raises(TasksUnavailable, match=says):
        folders.progress(TASK)


def test_a_wish_that_cannot_be_left_is_not_forgotten() -> None:
    with pytest.raises(TasksUnavailable, match="AccessDenied"):
        S3TaskFolders(Spoilt(refused("AccessDenied")), "pictures").cancel(TASK, RUNNING)


def test_the_whole_function(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "SD_REQUEST_TOPIC_ARN": "arn",
        "SD_OUTPUT_BUCKET": "pictures",
        "SD_MODEL_BUCKET": "models",
        "SD_ROUTES": '{"static": {}, "dynamic": null}',
    }.items():
        monkeypatch.setenv(name, value)
    app._tasks.cache_clear()
    options: dict[str, Any] = {"resource": "/v1/tasks/{task_id}", "task_id": TASK_ID}
    try:
        asked = app.handler(event(method="DELETE", **options), Context())
        told = app.handler(event(method="GET", **options), Context())
    finally:
        app._tasks.cache_clear()
    assert (asked["statusCode"], told["statusCode"]) == (202, 200)
    assert asked["body"] == told["body"]
    assert json.loads(told["body"])["status"] == "cancelling"


def test_now_is_the_time_unless_told_otherwise() -> None:
    folders = FakeFolders()
    _, document = Tasks(folders).cancel(TASK)
    asked = datetime.fromisoformat(document["updated_at"].replace("Z", "+00:00"))
    assert abs(datetime.now(timezone.utc) - asked) < timedelta(seconds=5)
