"""Requests and answers as API Gateway's proxy integration writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..contract import strict_json
from ..contract.problem import PROBLEM_CONTENT_TYPE, problem
from .refusal import Refusal

_NEVER_STORED = {"Cache-Control": "no-store"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What of an event is needed.

    Attributes:
        method: The HTTP method.
        resource: The path as the API defines it, such as ``/v1/tasks``.
        body: The body as text, or None.
        is_base64: Whether the body is base64.
        headers: The headers, with names in lower case.
        path: The parts of the path that the resource names.
        query: The values of each query parameter.
        own_path: The path on the host, with stage or base path.
        caller: Id of the API key; empty if there is none.
        id: API Gateway's id of the request, for logs.
    """

    method: str
    resource: str
    body: str | None = None
    is_base64: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    own_path: str = ""
    caller: str = ""
    id: str = ""

    @classmethod
    def of_event(cls, event: Any) -> Request:
        """Read an event. What is not there or not text is left empty.

        Args:
            event: The event of a REST API's proxy integration.
        """
        event = _object(event)
        context = _object(event.get("requestContext"))
        headers = _object(event.get("headers"))
        body = event.get("body")
        return cls(
            method=_text(event.get("httpMethod")).upper(),
            # `path` would hold the base path of a custom domain name, too.
            resource=_text(event.get("resource")) or _text(event.get("path")),
            body=body if isinstance(body, str) else None,
            is_base64=event.get("isBase64Encoded") is True,
            headers={name.lower(): _text(value) for name, value in headers.items()},
            path=_texts(event.get("pathParameters")),
            query=_query(event),
            own_path=_text(context.get("path")),
            caller=_text(_object(context.get("identity")).get("apiKeyId")),
            id=_text(context.get("requestId")),
        )


def answer(
    status: int,
    document: Mapping[str, Any],
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Write an answer.

    Args:
        status: The HTTP status.
        document: The body.
        content_type: Its media type. Default: "application/json".
        headers: More headers. Default: none.
    """
    return {
        "statusCode": status,
        "headers": {"Content-Type": content_type, **_NEVER_STORED, **(headers or {})},
        "body": strict_json.dumps(document),
        "isBase64Encoded": False,
    }


def refuse(refusal: Refusal) -> dict[str, Any]:
    """Write a refusal as a problem document."""
    document = problem(refusal.status, refusal.detail, refusal.faults)
    return answer(refusal.status, document, PROBLEM_CONTENT_TYPE, refusal.headers)


def _query(event: Mapping[str, Any]) -> Mapping[str, Sequence[str]]:
    query: dict[str, Sequence[str]] = {
        name: [value] for name, value in _texts(event.get("queryStringParameters")).items()
    }
    for name, values in _object(event.get("multiValueQueryStringParameters")).items():
        if isinstance(values, list) and values:
            query[name] = [_text(value) for value in values]
    return query


def _texts(value: Any) -> Mapping[str, str]:
    return {name: _text(each) for name, each in _object(value).items()}


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
