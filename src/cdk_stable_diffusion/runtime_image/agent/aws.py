"""The AWS clients that an agent needs."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config
from botocore.utils import determine_content_length

from .task_queue import WAIT_SECONDS

# As many as the downloads of a model keep busy, and some for everything else.
_CONNECTIONS = 48
# The usual one is put together anew for each call, which costs as much as signing it.
_USER_AGENT = "cdk-stable-diffusion-agent"
_AT_ONCE_BYTES = 1 << 20
"""What is sent to S3 without asking first: to be turned away with it costs less than to ask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Clients:
    """One client a service, safe for many threads.

    Attributes:
        sqs: For everything but waiting for messages.
        waiting_sqs: For waiting for messages; does not retry by itself.
        s3: Amazon S3.
        sns: Amazon SNS.
    """

    sqs: Any
    waiting_sqs: Any
    s3: Any
    sns: Any


def make_clients(topic_arn: str) -> Clients:
    """Make the clients from the environment's settings and credentials.

    Args:
        topic_arn: ARN of the result topic; its region is used where the environment names none.
    """
    # The stubs know services by literal names alone.
    session: Any = boto3.Session()
    region = session.region_name or os.environ.get("AWS_REGION") or topic_arn.split(":")[3]

    def client(service: str, *, read_timeout: int, attempts: int) -> Any:
        config = Config(
            retries={"mode": "standard", "total_max_attempts": attempts},
            connect_timeout=4,
            read_timeout=read_timeout,
            max_pool_connections=_CONNECTIONS,
            user_agent=_USER_AGENT,
            # The calls here are few and tested; to check each again takes a tenth of its time.
            parameter_validation=False,
        )
        return session.client(service, region_name=region, config=config)

    s3 = client("s3", read_timeout=30, attempts=3)
    # Behind botocore's own, which is for all calls to S3.
    s3.meta.events.register_last("before-call.s3", _send_at_once)
    sns = client("sns", read_timeout=10, attempts=3)
    sns.meta.events.register("before-call.sns.Publish", _encode_once)
    return Clients(
        # A heartbeat that hangs must fail soon enough for another before the lease ends.
        sqs=client("sqs", read_timeout=5, attempts=2),
        waiting_sqs=client("sqs", read_timeout=WAIT_SECONDS + 15, attempts=1),
        s3=s3,
        sns=sns,
    )


def _send_at_once(params: dict[str, Any], **_: Any) -> None:
    """Leave out the question whether S3 wants what is small: it takes a round trip and some CPU."""
    if "Expect" in params["headers"]:
        size = determine_content_length(params["body"])
        if size is not None and size <= _AT_ONCE_BYTES:
            del params["headers"]["Expect"]


def _encode_once(params: dict[str, Any], **_: Any) -> None:
    """Encode a message here: botocore does it once to sign it and once more to send it."""
    params["body"] = urlencode(params["body"]).encode("ascii")
