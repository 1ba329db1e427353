"""Entry of the API's Lambda function: which request goes where, and what comes back."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import boto3

from ..contract.environment import HandlerEnvironment
from ..contract.reference import TASKS_PATH
from ..contract.routing import RouteTable
from .adapters import S3_CONFIG, SNS_CONFIG, S3Catalogue, S3TaskFolders, SnsPublisher
from .body import read_task
from .catalogue import RememberingCatalogue
from .reference import location, read_reference
from .refusal import Refusal
from .submit import Submission
from .tasks import Tasks
from .telemetry import Telemetry, configure
from .trace import traceparent
from .web import Request, answer, refuse

_logger = configure()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one request.

    Args:
        event: The event of a REST API's proxy integration.
        context: Lambda's context.

    Returns:
        The answer to the request, or a problem. It never raises.
    """
    telemetry = Telemetry(_logger, str(getattr(context, "aws_request_id", "")))
    try:
        return _answer(Request.of_event(event), telemetry)
    except Refusal as refusal:
        telemetry.refused(refusal)
        return refuse(refusal)
    except Exception:
        telemetry.failed()
        return refuse(Refusal(500, "Something went wrong that is no fault of the request."))


def _answer(request: Request, telemetry: Telemetry) -> dict[str, Any]:
    methods = _ROUTES.get(request.resource.rstrip("/"))
    if methods is None:
        raise Refusal(404, f"There is no such path; tasks go to POST {TASKS_PATH}.")
    if request.method not in methods:
        allowed = ", ".join(methods)
        says = "method here is" if len(methods) == 1 else "methods here are"
        raise Refusal(405, f"The only {says} {allowed}.", headers={"Allow": allowed})
    return methods[request.method](request, telemetry)


def _submit(request: Request, telemetry: Telemetry) -> dict[str, Any]:
    task = _submission().submit(
        read_task(request),
        caller=request.caller,
        traceparent=traceparent(
            request.headers.get("traceparent", ""), os.environ.get("_X_AMZN_TRACE_ID", "")
        ),
    )
    telemetry.accepted(task)
    return answer(202, task.to_dict(), headers={"Location": location(request, task)})


def _describe(request: Request, telemetry: Telemetry) -> dict[str, Any]:
    telemetry.is_about_a_task()
    document = _tasks().describe(read_reference(request))
    telemetry.told(200, document)
    return answer(200, document)


def _cancel(request: Request, telemetry: Telemetry) -> dict[str, Any]:
    telemetry.is_about_a_task()
    status, document = _tasks().cancel(read_reference(request))
    telemetry.told(status, document)
    return answer(status, document)


_ROUTES: Mapping[str, Mapping[str, Callable[[Request, Telemetry], dict[str, Any]]]] = {
    TASKS_PATH: {"POST": _submit},
    f"{TASKS_PATH}/{{task_id}}": {"GET": _describe, "DELETE": _cancel},
}


@cache
def _submission() -> Submission:
    """Set up once for all requests that this instance of the function answers."""
    return make_submission(
        _settings(),
        sns=boto3.client("sns", config=SNS_CONFIG),
        s3=boto3.client("s3", config=S3_CONFIG),
    )


@cache
def _tasks() -> Tasks:
    """Set up once, likewise."""
    client = boto3.client("s3", config=S3_CONFIG)
    return Tasks(S3TaskFolders(client, _settings().output_bucket))


def _settings() -> HandlerEnvironment:
    try:
        return HandlerEnvironment.from_environment(os.environ)
    except ValueError as error:
        # Unlike other errors' words, these hold nothing of a client's.
        _logger.critical("%s", error)
        raise


def make_submission(settings: HandlerEnvironment, *, sns: Any, s3: Any) -> Submission:
    """Connect the logic to AWS.

    Args:
        settings: The function's settings.
        sns: An SNS client.
        s3: An S3 client.
    """
    return Submission(
        routes=RouteTable.from_json(settings.routes),
        output_bucket=settings.output_bucket,
        publisher=SnsPublisher(sns, settings.request_topic_arn),
        catalogue=RememberingCatalogue(S3Catalogue(s3, settings.model_bucket)),
    )
