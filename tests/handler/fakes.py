"""Stand-ins for AWS, and events as API Gateway sends them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from cdk_stable_diffusion.contract import RouteTable, TaskMessage, TaskProgress, TaskReference
from cdk_stable_diffusion.handler import app
from cdk_stable_diffusion.handler.catalogue import CatalogueUnavailable
from cdk_stable_diffusion.handler.submit import Submission
from cdk_stable_diffusion.handler.tasks import Tasks, TasksUnavailable

API_KEY = "the-secret-api-key-0123456789"
CALLER = "key-id-7"
ROUTES = RouteTable(
    static={"tiny-shapes": "tiny", "sdxl-base-1.0": "sdxl"},
    dynamic="any",
)


@dataclass
class FakePublisher:
    """Keeps what is published, or fails."""

    error: Exception | None = None
    messages: list[TaskMessage] = field(default_factory=list)
    lanes: list[int | None] = field(default_factory=list)

    def publish(self, message: TaskMessage, lane: int | None) -> None:
        if self.error is not None:
            raise self.error
        self.lanes.append(lane)
        # As SNS gets it: a message that cannot be written is no message.
        self.messages.append(TaskMessage.from_json(message.to_json()))


@dataclass
class FakeCatalogue:
    """Knows some models, or is down; counts questions."""

    models: Sequence[str] = ("dreamy-v2", "tiny-shapes-copy")
    down: bool = False
    asked: list[str] = field(default_factory=list)

    def has(self, model: str) -> bool:
        self.asked.append(model)
        self._check()
        return model in self.models

    def names(self) -> Sequence[str]:
        self._check()
        return self.models

    def _check(self) -> None:
        if self.down:
            raise CatalogueUnavailable("SlowDown")


@dataclass
class FakeFolders:
    """The tasks' folders in memory, or down."""

    down: bool = False
    results: dict[TaskReference, dict[str, Any]] = field(default_factory=dict)
    reports: dict[TaskReference, TaskProgress] = field(default_factory=dict)
    cancelled: dict[TaskReference, TaskProgress] = field(default_factory=dict)

    def result(self, task: TaskReference) -> dict[str, Any] | None:
        self._check()
        return self.results.get(task)

    def progress(self, task: TaskReference) -> TaskProgress | None:
        self._check()
        return self.reports.get(task)

    def cancellation(self, task: TaskReference) -> TaskProgress | None:
        self._check()
        return self.cancelled.get(task)

    def cancel(self, task: TaskReference, request: TaskProgress) -> None:
        self._check()
        self.cancelled[task] = request

    def _check(self) -> None:
        if self.down:
            raise TasksUnavailable("SlowDown")


@dataclass
class Context:
    """What Lambda hands over beside the event."""

    aws_request_id: str = "lambda-request-1"


def event(
    body: Any = None,
    *,
    method: str = "POST",
    resource: str = "/v1/tasks",
    headers: Mapping[str, Any] | None = None,
    base64: bool = False,
    task_id: str | None = None,
    query: Mapping[str, Sequence[str]] | None = None,
    own_path: str | None = None,
) -> dict[str, Any]:
    """Return an event of a REST API's proxy integration."""
    return {
        "resource": resource,
        "path": resource,
        "httpMethod": method,
        "headers": {"x-api-key": API_KEY, **(headers or {})},
        "multiValueHeaders": {},
        "queryStringParameters": {name: values[-1] for name, values in (query or {}).items()}
        or None,
        "multiValueQueryStringParameters": query,
        "pathParameters": None if task_id is None else {"task_id": task_id},
        "stageVariables": None,
        "requestContext": {
            "requestId": "gateway-request-1",
            **({} if own_path is None else {"path": own_path}),
            "identity": {"apiKey": API_KEY, "apiKeyId": CALLER, "sourceIp": "192.0.2.1"},
        },
        "body": body if body is None or isinstance(body, str) else json.dumps(body),
        "isBase64Encoded": base64,
    }


class Service:
    """The function with stand-ins behind it."""

    def __init__(self) -> None:
        self.publisher = FakePublisher()
        self.catalogue = FakeCatalogue()
        self.folders = FakeFolders()
        self.now = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
        self.routes = ROUTES

    def send(self, body: Any = None, **options: Any) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Send a request; return status, document and headers."""
        answer = app.handler(event(body, **options), Context())
        assert isinstance(answer["body"], str)
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]

    def ask(
        self, method: str, task_id: str, /, **query: Sequence[str]
    ) -> tuple[int, dict[str, Any], dict[str, str]]:
        """Ask for a task, or for its end."""
        resource = "/v1/tasks/{task_id}"
        return self.send(method=method, resource=resource, task_id=task_id, query=query)

    def tasks(self) -> Tasks:
        return Tasks(self.folders, lambda: self.now)

    def submission(self) -> Submission:
        return Submission(
            routes=self.routes,
            output_bucket="pictures",
            publisher=self.publisher,
            catalogue=self.catalogue,
        )


@contextmanager
def served() -> Iterator[Service]:
    """Put stand-ins behind the function for a while."""
    service = Service()
    originals = app._submission, app._tasks
    app._submission = service.submission  # type: ignore[assignment]
    app._tasks = service.tasks  # type: ignore[assignment]
    try:
        yield service
    finally:
        app._submission, app._tasks = originals
