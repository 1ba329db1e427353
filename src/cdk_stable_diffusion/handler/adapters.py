"""SNS and S3, behind the protocols that the logic asks for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from ..contract import strict_json
from ..contract.keys import (
    MODELS_PREFIX,
    cancel_key,
    model_manifest_key,
    progress_key,
    result_key,
)
from ..contract.message import TaskMessage
from ..contract.progress import TaskProgress
from ..contract.reference import TaskReference
from ..contract.result import STATUSES
from ..contract.routing import LANE_ATTRIBUTE
from .catalogue import CatalogueUnavailable
from .submit import MessageTooLarge, PublishFailed
from .tasks import TasksUnavailable

# Together at their worst, these stay within the function's 28 s.
SNS_CONFIG = Config(
    connect_timeout=2,
    read_timeout=3,
    retries={"mode": "standard", "total_max_attempts": 3},
)
S3_CONFIG = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 2},
)

MAX_LISTED_MODELS = 1_000
MAX_DOCUMENT_BYTES = 256 * 1024
"""More than any result has; what else may lie there is not read to its end."""

# S3 says "access denied" for a key that is not there to whoever may not list the bucket.
_ABSENT = frozenset({"NoSuchKey", "AccessDenied", "404", "403"})

_log = logging.getLogger(__name__)


class SnsPublisher:
    """The request topic on SNS."""

    def __init__(self, client: Any, topic_arn: str) -> None:
        """Take the topic.

        Args:
            client: An SNS client.
            topic_arn: The topic.
        """
        self._client = client
        self._topic_arn = topic_arn

    def publish(self, message: TaskMessage, lane: int | None) -> None:
        """Put a task on the topic, with the attributes that subscriptions filter on."""
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in message.attributes().items()
        }
        if lane is not None:
            attributes[LANE_ATTRIBUTE] = {"DataType": "Number", "StringValue": str(lane)}
        try:
            self._client.publish(
                TopicArn=self._topic_arn,
                Message=message.to_json(),
                MessageAttributes=attributes,
            )
        except (BotoCoreError, ClientError) as error:
            if _is_too_large(error):
                raise MessageTooLarge from error
            raise PublishFailed(describe(error)) from error


class S3Catalogue:
    """The models in the model bucket.

    It lists and never reads, so that the function needs no right to read a model. To list a key's
    own prefix also tells a missing model from a forbidden one, which asking for the object does
    not.
    """

    def __init__(self, client: Any, bucket: str) -> None:
        """Take the bucket.

        Args:
            client: An S3 client.
            bucket: The model bucket.
        """
        self._client = client
        self._bucket = bucket

    def has(self, model: str) -> bool:
        """Tell whether a model's manifest is there, which is written last."""
        key = model_manifest_key(model)
        # Of all keys that begin so, the one that ends so is the first.
        page = self._list(Prefix=key, MaxKeys=1)
        return any(each["Key"] == key for each in page.get("Contents", ()))

    def names(self) -> Sequence[str]:
        """Return the names of up to a thousand models."""
        page = self._list(Prefix=MODELS_PREFIX, Delimiter="/", MaxKeys=MAX_LISTED_MODELS)
        return [
            each["Prefix"].removeprefix(MODELS_PREFIX).rstrip("/")
            for each in page.get("CommonPrefixes", ())
        ]

    def _list(self, **options: Any) -> dict[str, Any]:
        try:
            page: dict[str, Any] = self._client.list_objects_v2(Bucket=self._bucket, **options)
        except (BotoCoreError, ClientError) as error:
            raise CatalogueUnavailable(describe(error)) from error
        return page


class S3TaskFolders:
    """The tasks' folders in the output bucket."""

    def __init__(self, client: Any, bucket: str) -> None:
        """Take the bucket.

        Args:
            client: An S3 client.
            bucket: The output bucket.
        """
        self._client = client
        self._bucket = bucket

    def result(self, task: TaskReference) -> dict[str, Any] | None:
        """Return a task's result, if there is one."""
        text = self._read(result_key(task.output_prefix, task.task_id))
        if text is None:
            return None
        try:
            document = strict_json.loads(text)
        except ValueError:
            document = None
        # Not all of it is checked: what a newer agent adds is the client's to read.
        if (
            isinstance(document, dict)
            and document.get("task_id") == task.task_id
            and document.get("status") in STATUSES
        ):
            return document
        _log.warning("result of task %s is unreadable", task.task_id)
        return None

    def progress(self, task: TaskReference) -> TaskProgress | None:
        """Return what an agent said last about a task, if it said anything."""
        return self._progress(task, progress_key(task.output_prefix, task.task_id))

    def cancellation(self, task: TaskReference) -> TaskProgress | None:
        """Return the request to cancel a task, if there is one."""
        return self._progress(task, cancel_key(task.output_prefix, task.task_id))

    def cancel(self, task: TaskReference, request: TaskProgress) -> None:
        """Leave a request to cancel a task."""
        try:
            self._client.put_object(
                Bucket=self._bucket,
                Key=cancel_key(task.output_prefix, task.task_id),
                Body=request.to_json().encode("utf-8"),
                ContentType="application/json",
            )
        except (BotoCoreError, ClientError) as error:
            raise TasksUnavailable(describe(error)) from error

    def _progress(self, task: TaskReference, key: str) -> TaskProgress | None:
        text = self._read(key)
        if text is None:
            return None
        try:
            progress = TaskProgress.from_json(text)
            if progress.task_id == task.task_id:
                return progress
        except ValueError:
            pass
        _log.warning("%s of task %s is unreadable", PurePosixPath(key).name, task.task_id)
        return None

    def _read(self, key: str) -> str | None:
        try:
            answer = self._client.get_object(Bucket=self._bucket, Key=key)
            data: bytes = answer["Body"].read(MAX_DOCUMENT_BYTES)
        except (BotoCoreError, ClientError) as error:
            if describe(error) in _ABSENT:
                return None
            raise TasksUnavailable(describe(error)) from error
        return data.decode("utf-8", "replace")


def describe(error: BotoCoreError | ClientError) -> str:
    """Say which error it is, without anything of the request."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "unknown"))
    return type(error).__name__


def _is_too_large(error: BotoCoreError | ClientError) -> bool:
    if not isinstance(error, ClientError):
        return False
    details = error.response.get("Error", {})
    return details.get("Code") in ("InvalidParameter", "InvalidParameterException") and (
        "too long" in details.get("Message", "").lower()
    )
