"""Pictures and results in the output bucket."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import ClientError

from ...contract import ResultMessage, TaskMessage, TaskProgress
from ...contract.keys import cancel_key, image_key, progress_key, result_key

_LOG = logging.getLogger(__name__)
# S3 says "access denied" for a key that is not there to whoever may not list the bucket.
ABSENT = frozenset({"404", "NoSuchKey", "403", "AccessDenied"})
"""What S3 says of an object that is not there."""

_EXISTS = frozenset({"412", "PreconditionFailed"})


class Outputs:
    """The output bucket, in the agent's words."""

    def __init__(self, s3: Any, bucket: str) -> None:
        """Connect.

        Args:
            s3: S3 client.
            bucket: The output bucket.
        """
        self._s3 = s3
        self.bucket = bucket

    def find_result(self, task: TaskMessage) -> ResultMessage | None:
        """Return the result that an earlier run of a task has left, if there is one."""
        try:
            answer = self._s3.get_object(Bucket=self.bucket, Key=_result_key(task))
            data = answer["Body"].read()
        except ClientError as error:
            if error_code(error) in ABSENT:
                return None
            raise
        try:
            return ResultMessage.from_json(data.decode("utf-8"))
        except (ValueError, TypeError) as error:
            # Not written by an agent of this version: as good as none.
            _LOG.warning("stored result is unreadable: %s", error, extra={"task_id": task.task_id})
            return None

    def is_cancelled(self, task: TaskMessage) -> bool:
        """Tell whether a client has asked for a task's cancellation."""
        key = cancel_key(task.request.output_prefix, task.task_id)
        try:
            self._s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error_code(error) in ABSENT:
                return False
            raise
        return True

    def put_progress(self, task: TaskMessage, progress: TaskProgress) -> None:
        """Tell clients how far a task is."""
        self._s3.put_object(
            Bucket=self.bucket,
            Key=progress_key(task.request.output_prefix, task.task_id),
            Body=progress.to_json().encode("utf-8"),
            ContentType="application/json",
        )

    def put_picture(
        self, task: TaskMessage, index: int, data: bytes, content_type: str, *, replace: bool
    ) -> tuple[str, bytes]:
        """Store a picture, unless another agent was faster with the same.

        Two drawings of one picture may differ in a few bits. A result names its pictures' digests,
        so what another agent's result may be about already is left as it is.

        Args:
            task: The task.
            index: The picture's place in it.
            data: The file.
            content_type: Its media type.
            replace: Whether to replace one that is there.

        Returns:
            Its key, and the file that stands.
        """
        request = task.request
        key = image_key(request.output_prefix, task.task_id, index, request.output_format)
        condition = {} if replace else {"IfNoneMatch": "*"}
        try:
            self._s3.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType=content_type, **condition
            )
        except ClientError as error:
            if error_code(error) not in _EXISTS:
                raise
            data = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return key, data

    def put_result(
        self, task: TaskMessage, result: ResultMessage, *, replace_failure: bool
    ) -> ResultMessage:
        """Store a result, unless the task has one.

        Args:
            task: The task.
            result: The result.
            replace_failure: Whether to replace one that says that the task failed.

        Returns:
            The result that stands: this one, or the one that another agent was faster with.
        """
        try:
            self._put(task, result, IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) not in _EXISTS:
                raise
            standing = self.find_result(task)
            if standing is not None and not (replace_failure and standing.status == "failed"):
                return standing
            self._put(task, result)
        return result

    def _put(self, task: TaskMessage, result: ResultMessage, **condition: str) -> None:
        self._s3.put_object(
            Bucket=self.bucket,
            Key=_result_key(task),
            Body=result.to_json().encode("utf-8"),
            ContentType="application/json",
            **condition,
        )


def error_code(error: ClientError) -> str:
    """Return the code of an AWS error."""
    return str(error.response.get("Error", {}).get("Code", ""))


def _result_key(task: TaskMessage) -> str:
    return result_key(task.request.output_prefix, task.task_id)
