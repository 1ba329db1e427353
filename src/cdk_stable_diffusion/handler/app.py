"""Entry of the API's Lambda function: which request goes where, and what comes back."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

import boto3

from ..contract.environment import HandlerEnvironment
from ..contract.routing import RouteTable
from .adapters import S3_CONFIG, SNS_CONFIG, S3Catalogue, SnsPublisher
from .body import read_task
from .catalogue import RememberingCatalogue
from .refusal import Refusal
from .submit import Submission
from .telemetry import Telemetry, configure
from .trace import traceparent
from .web import Request, answer, refuse

TASKS = "/v1/tasks"

_logger = configure()


def handler(event: Any, context: Any) -> dict[str, Any]:
    """Answer one request.

    Args:
        event: The event of a REST API's proxy integration.
        context: Lambda's context.

    Returns:
        202 with the task, or a problem. It never raises.
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
    if request.resource.rstrip("/") != TASKS:
        raise Refusal(404, f"There is no such path; tasks go to POST {TASKS}.")
    if request.method != "POST":
        raise Refusal(405, "The only method here is POST.", headers={"Allow": "POST"})
    task = _submission().submit(
        read_task(request),
        caller=request.caller,
        traceparent=traceparent(
            request.headers.get("traceparent", ""), os.environ.get("_X_AMZN_TRACE_ID", "")
        ),
    )
    telemetry.accepted(task)
    return answer(202, task.to_dict())


@cache
def _submission() -> Submission:
    """Set up once for all requests that this instance of the function answers."""
    try:
        settings = HandlerEnvironment.from_environment(os.environ)
    except ValueError as error:
        # Unlike other errors' words, these hold nothing of a client's.
        _logger.critical("%s", error)
        raise
    return make_submission(
        settings,
        sns=boto3.client("sns", config=SNS_CONFIG),
        s3=boto3.client("s3", config=S3_CONFIG),
    )


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
