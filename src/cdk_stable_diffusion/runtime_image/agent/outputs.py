"""Pictures and results in the output bucket."""

from __future__ import annotations

import logging
from typing import Any

from botocore.exceptions import ClientError

from ...contract import ResultMessage, TaskMessage, TaskProgress
from ...contract.keys import cancel_key, image_key, progress_key, result_key
from .aws_errors import error_code, is_absent

_LOG = logging.getLogger(__name__)
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
            return self._read_result(task)[0]
        except ClientError as error:
            if is_absent(error):
                return None
            raise

    def is_cancelled(self, task: TaskMessage) -> bool:
        """Tell whether a client has asked for a task's cancellation."""
        key = cancel_key(task.request.output_prefix, task.task_id)
        try:
            self._s3.head_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if is_absent(error):
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
        self, task: TaskMessage, index: int, data: bytes, content_type: str
    ) -> tuple[str, bytes]:
        """Store a picture, unless another agent was faster with the same.

        Two drawings of one picture may differ in a few bits. A result names its pictures' digests,
        so what another agent's result may be about already is left as it is.

        Args:
            task: The task.
            index: The picture's place in it.
            data: The file.
            content_type: Its media type.

        Returns:
            Its key, and the file that stands.
        """
        request = task.request
        kind = content_type.rpartition("/")[2]
        key = image_key(request.output_prefix, task.task_id, index, kind)
        try:
            self._s3.put_object(
                Bucket=self.bucket, Key=key, Body=data, ContentType=content_type, IfNoneMatch="*"
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
            return result
        except ClientError as error:
            if error_code(error) not in _EXISTS:
                raise
        # It is there: whoever may not read it must not replace it either.
        standing, tag = self._read_result(task)
        if standing is not None and not (replace_failure and standing.status == "failed"):
            return standing
        # None but the one that was read, since two agents may be here at once.
        self._put(task, result, IfMatch=tag)
        return result

    def _read_result(self, task: TaskMessage) -> tuple[ResultMessage | None, str]:
        """Return the result that is stored, None if nobody can read it, and what identifies it."""
        answer = self._s3.get_object(Bucket=self.bucket, Key=_result_key(task))
        data = answer["Body"].read()
        try:
            return ResultMessage.from_json(data.decode("utf-8")), answer["ETag"]
        except (ValueError, TypeError) as error:
            # Not written by an agent of this version: as good as none.
            _LOG.warning("stored result is unreadable: %s", error, extra={"task_id": task.task_id})
            return None, answer["ETag"]

    def _put(self, task: TaskMessage, result: ResultMessage, **condition: str) -> None:
        self._s3.put_object(
            Bucket=self.bucket,
            Key=_result_key(task),
            Body=result.to_json().encode("utf-8"),
            ContentType="application/json",
            **condition,
        )


def _result_key(task: TaskMessage) -> str:
    return result_key(task.request.output_prefix, task.task_id)
