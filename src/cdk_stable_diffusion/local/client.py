"""A client of a running service: sends a task to the API's route and fetches its pictures."""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from ..contract import ResultMessage, TaskAccepted, TaskReference
from ..contract.keys import RESULT_NAME
from ..contract.reference import TASKS_PATH
from ..contract.result import CANCELLED
from .aws import AwsAccess
from .errors import LocalError

ANSWER_SECONDS = 35.0
"""Longer than API Gateway lets an answer take."""

_POLL_SECONDS = 0.2
# The service is on this machine: no proxy stands between.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ProblemAnswer(LocalError):
    """The API said no, with problem details (RFC 9457).

    Attributes:
        problem: The details.
    """

    def __init__(self, problem: Mapping[str, Any]) -> None:
        """Make the message for people.

        Args:
            problem: The details.
        """
        self.problem = problem
        lines = [f"{problem.get('status', '?')} {problem.get('title', '')}".rstrip()]
        if detail := problem.get("detail"):
            lines.append(f"  {detail}")
        for error in problem.get("errors", ()):
            lines.append(f"  {error.get('pointer') or 'body'}: {error.get('detail')}")
        super().__init__("\n".join(lines))


@dataclass(frozen=True, kw_only=True, slots=True)
class Client:
    """Speaks to one service.

    Attributes:
        endpoint: Base URL of the API's stage.
        api_key: The API key.
        access: Where the pictures are.
    """

    endpoint: str
    api_key: str
    access: AwsAccess

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Client:
        """Return a client for a service.

        Args:
            details: What `sd-local up` prints.
        """
        return cls(
            endpoint=details["endpoint"],
            api_key=details["api_key"],
            access=AwsAccess(endpoint_url=details["aws_endpoint_url"], region=details["region"]),
        )

    def submit(self, task: Mapping[str, Any]) -> TaskAccepted:
        """Send a task.

        Args:
            task: The body of the request (see `contract.TaskRequest`).

        Raises:
            ProblemAnswer: If the API refuses it.
            LocalError: If there is no usable answer.
        """
        status, body = self.post(json.dumps(task).encode("utf-8"))
        return TaskAccepted(**_document(status, body))

    def status(self, task_id: str, output_prefix: str = "") -> dict[str, Any]:
        """Return a task's result or, until there is one, what is known of it.

        Args:
            task_id: The task's id.
            output_prefix: The `output_prefix` of its request. Default: none.

        Raises:
            ProblemAnswer: If the API refuses to say.
            LocalError: If there is no usable answer.
        """
        return _document(*self._exchange("GET", _path(task_id, output_prefix)))

    def cancel(self, task_id: str, output_prefix: str = "") -> dict[str, Any]:
        """Ask for a task's cancellation, and return what is known of it.

        Args:
            task_id: The task's id.
            output_prefix: The `output_prefix` of its request. Default: none.

        Raises:
            ProblemAnswer: If the API refuses, as it does where the task has ended already.
            LocalError: If there is no usable answer.
        """
        return _document(*self._exchange("DELETE", _path(task_id, output_prefix)))

    def post(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
        """Send any body to the tasks' route, and return the answer's status and body.

        Args:
            body: The body.
            headers: Headers instead of the API key and content type. Default: those.

        Raises:
            LocalError: If nobody answers.
        """
        if headers is None:
            headers = {**self._key, "content-type": "application/json"}
        return self._exchange("POST", TASKS_PATH, body, headers)

    @property
    def _key(self) -> dict[str, str]:
        return {"x-api-key": self.api_key}

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        headers = self._key if headers is None else headers
        request = urllib.request.Request(
            self.endpoint + path, data=body, headers=dict(headers), method=method
        )
        try:
            with _DIRECT.open(request, timeout=ANSWER_SECONDS) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()
        except OSError as error:
            raise LocalError(f"no answer from {self.endpoint}: {error}") from None

    def wait(
        self,
        accepted: TaskAccepted,
        *,
        timeout_seconds: float,
        tick: Callable[[], None] = lambda: None,
    ) -> ResultMessage:
        """Wait for a task's result beside its pictures; the backends' queues are left alone.

        Args:
            accepted: The API's answer.
            timeout_seconds: How long to wait.
            tick: Called every now and then. Default: nothing is.

        Raises:
            LocalError: If the time runs out, or the service has ended.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        s3 = self.access.client("s3")
        bucket, prefix = _location(accepted.output_location)
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            try:
                body = s3.get_object(Bucket=bucket, Key=prefix + RESULT_NAME)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] not in ("NoSuchKey", "404"):
                    raise
            except BotoCoreError as error:
                raise LocalError(f"no answer from {self.access.endpoint_url}: {error}") from None
            else:
                return ResultMessage.from_json(body.decode("utf-8"))
            tick()
            time.sleep(_POLL_SECONDS)
        raise LocalError(f"task {accepted.task_id} has no result after {timeout_seconds:g} s")

    def save(self, result: ResultMessage, directory: Path) -> list[Path]:
        """Save a result's pictures as ``<task id>-<index>.<extension>``.

        Args:
            result: The result.
            directory: Where to; made if need be.

        Returns:
            The files.

        Raises:
            LocalError: If a file cannot be written.
        """
        s3 = self.access.client("s3")
        prepare_directory(directory)
        files = []
        for image in result.images:
            file = directory / f"{result.task_id}-{PurePosixPath(image.key).name}"
            body = s3.get_object(Bucket=image.bucket, Key=image.key)["Body"].read()
            try:
                file.write_bytes(body)
            except OSError as error:
                raise LocalError(f"cannot write {file}: {error.strerror}") from None
            files.append(file)
        return files


def prepare_directory(directory: Path) -> None:
    """Make a directory for pictures, before there are any to lose.

    Args:
        directory: The directory.

    Raises:
        LocalError: If nothing can be written there.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalError(f"cannot make the directory {directory}: {error.strerror}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise LocalError(f"cannot write to the directory {directory}: permission denied")


def failures(results: Iterable[ResultMessage]) -> list[str]:
    """Return a line for every task that failed or was cancelled.

    Args:
        results: The results.
    """
    lines = []
    for each in results:
        if each.error is not None:
            lines.append(f"task {each.task_id} failed: {each.error.code}: {each.error.detail}")
        elif each.status == CANCELLED:
            lines.append(f"task {each.task_id} was cancelled")
    return lines


def _path(task_id: str, output_prefix: str) -> str:
    # It may be anything that somebody typed; the API is to say what is wrong with it.
    return TaskReference(quote(task_id, safe=""), output_prefix).path


def _document(status: int, body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LocalError(f"the API answered {status} with {body[:200]!r}")
    if status >= HTTPStatus.BAD_REQUEST:
        raise ProblemAnswer({"status": status, **document})
    return document


def _location(location: str) -> tuple[str, str]:
    parts = urlsplit(location)
    prefix = parts.path.lstrip("/")
    return parts.netloc, prefix if prefix.endswith("/") else f"{prefix}/"
