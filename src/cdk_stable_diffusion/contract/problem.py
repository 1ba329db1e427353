"""How the API says no: problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .fault import Fault
from .fields import Field, Integer, ObjectField, Text

PROBLEM_CONTENT_TYPE = "application/problem+json"

TITLES = {
    400: "Bad request",
    401: "Not signed",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Request too large",
    415: "Unsupported media type",
    429: "Too many requests",
    500: "Internal error",
    503: "Service unavailable",
    504: "Timed out",
}

PROBLEM_FIELDS: tuple[Field, ...] = (
    Text("type", "What kind of problem, as a URI.", required=True),
    Text("title", "The kind in words.", required=True),
    Integer("status", "The HTTP status.", required=True, minimum=400, maximum=599),
    Text("detail", "What went wrong this time.", required=True, max_length=10_000),
    ObjectField(
        "errors",
        "Every fault of the request: where (JSON Pointer) and what.",
        many=True,
        fields=(
            Text("pointer", "JSON Pointer to the value; empty for the body.", required=True),
            Text("detail", "What is wrong and what is allowed.", required=True, max_length=10_000),
        ),
    ),
)


def problem(status: int, detail: str, errors: Sequence[Fault] = ()) -> dict[str, Any]:
    """Return a problem document.

    Args:
        status: The HTTP status, one of `TITLES`.
        detail: What went wrong this time.
        errors: The faults of the request, if it is to blame.
    """
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": TITLES[status],
        "status": status,
        "detail": detail,
    }
    if errors:
        document["errors"] = [fault.to_dict() for fault in errors]
    return document
