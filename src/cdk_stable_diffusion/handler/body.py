"""From the body of a request to a checked task request."""

from __future__ import annotations

import base64
import binascii

from ..contract import strict_json
from ..contract.fault import Fault, InvalidTask
from ..contract.limits import MAX_REQUEST_BYTES
from ..contract.task import TaskRequest
from .refusal import Refusal, faulty
from .web import Request

_FORM = "application/x-www-form-urlencoded"
"""What curl says of ``-d '{...}'`` unless told otherwise; nobody means a form here."""


def read_task(request: Request) -> TaskRequest:
    """Read and check the task in a request.

    Args:
        request: The request.

    Raises:
        Refusal: 400 with every fault, 413 or 415.
    """
    _check_content_type(request.headers.get("content-type", ""))
    text = _text(request)
    try:
        return TaskRequest.parse(strict_json.loads(text))
    except InvalidTask as invalid:
        faults = invalid.faults
    except ValueError as error:
        faults = (Fault("", str(error)),)
    raise faulty(faults)


def _check_content_type(value: str) -> None:
    media_type = value.partition(";")[0].strip().lower()
    if media_type in ("", "application/json", _FORM):
        return
    if media_type.startswith("application/") and media_type.endswith("+json"):
        return
    raise Refusal(
        415,
        "The body must be application/json.",
        headers={"Accept-Post": "application/json"},
    )


def _text(request: Request) -> str:
    body = request.body or ""
    # Before it is decoded, so that nothing large is ever copied.
    if len(body) > 2 * MAX_REQUEST_BYTES:
        raise _too_large(f"more than {MAX_REQUEST_BYTES}")
    if request.is_base64:
        try:
            content = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise _not_text("is not base64, as its sender says") from None
    else:
        try:
            content = body.encode("utf-8")
        except UnicodeEncodeError:
            raise _not_text("is not UTF-8") from None
    if len(content) > MAX_REQUEST_BYTES:
        raise _too_large(str(len(content)))
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _not_text("is not UTF-8") from None
    if not text.strip():
        raise _not_text("is missing: it must be a JSON object")
    return text


def _too_large(size: str) -> Refusal:
    says = f"must have at most {MAX_REQUEST_BYTES} bytes, has {size}"
    return Refusal(413, f"The body {says}.", [Fault("", says)])


def _not_text(detail: str) -> Refusal:
    return Refusal(400, "The body cannot be read.", [Fault("", detail)])
