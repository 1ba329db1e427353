"""The ways in which a task can end. The order within each is what keeps a task from being lost.

pictures -> result in S3 -> result on the topic -> message deleted
"""

from __future__ import annotations

import hashlib
import logging
import time

from ...contract import ImageOutput, ResultMessage, TaskError
from ...contract.result import CANCELLED
from .announcements import Announcements
from .aws_errors import is_away, is_refusal
from .engine import Drawing
from .failure import TaskFailure
from .leases import Leases
from .outputs import Outputs
from .pictures import encode
from .retry import Retrier
from .returns import Returns
from .shutdown import Shutdown
from .task_queue import Received, TaskQueue
from .work import Work

_LOG = logging.getLogger(__name__)
_LONGEST_BACKOFF_SECONDS = 60


class Endings:
    """Ends tasks: succeeded, failed for good, cancelled, put back, given up."""

    def __init__(
        self,
        *,
        queue: TaskQueue,
        leases: Leases,
        returns: Returns,
        outputs: Outputs,
        announcements: Announcements,
        retrier: Retrier,
        shutdown: Shutdown,
        runtime_name: str,
        runtime_class: str,
        max_receive_count: int,
    ) -> None:
        """Connect.

        Args:
            queue: Where the messages come from.
            leases: The messages in hand.
            returns: How messages are given back.
            outputs: The output bucket.
            announcements: The result topic.
            retrier: How to try again.
            shutdown: Whether time is up.
            runtime_name: Name of this runtime, for the results.
            runtime_class: "static" or "dynamic".
            max_receive_count: On which try a task is given up.
        """
        self._queue = queue
        self._leases = leases
        self._returns = returns
        self._outputs = outputs
        self._announcements = announcements
        self._retrier = retrier
        self._shutdown = shutdown
        self._runtime_name = runtime_name
        self._runtime_class = runtime_class
        self._max_receive_count = max_receive_count

    def succeed(self, work: Work, drawing: Drawing, digest: str) -> None:
        """Store and announce what was drawn.

        Args:
            work: The task.
            drawing: What the engine made.
            digest: Identity of the model's weights.
        """
        began = time.monotonic()
        try:
            images = tuple(
                self._store(work, drawing, index, digest) for index in range(len(drawing.pictures))
            )
            work.delivering_seconds = time.monotonic() - began
            result = self._result(work, "succeeded", images=images, drawing=drawing)
            self._publish(work, self._put_result(work, result))
        except Exception as error:
            _LOG.warning("delivery failed: %s", error, extra=work.log_fields())
            self.fail(work, _output_failure(error), drawing)
            return
        try:
            self._delete(work.message)
        except Exception as error:
            # The client has its result. Whoever takes the message next finds it in S3.
            self._release(work.message, error)
        _LOG.info("succeeded", extra={**work.log_fields(), **_figures(result)})

    def republish(self, work: Work, result: ResultMessage) -> None:
        """Announce the result of an earlier run, whose message was not deleted."""
        try:
            self._publish(work, result)
            self._delete(work.message)
        except Exception as error:
            self._release(work.message, error)
            return
        _LOG.info("had a result already", extra=work.log_fields())

    def has_no_try_left(self, work: Work) -> bool:
        """Tell whether all tries of a task began and none of them ended, well or badly.

        Its agents were killed, maybe by the task itself. The queue gives a task once more than
        there are tries, so that its client hears of it.
        """
        return work.tries > self._max_receive_count

    def cancel(self, work: Work) -> None:
        """End a task that its client wants no more, unless it has ended otherwise meanwhile."""
        if self._shutdown.over:
            self.put_back(work.message)
            return
        try:
            self._publish(work, self._put_result(work, self._result(work, CANCELLED)))
            self._delete(work.message)
        except Exception as error:
            # Whoever takes it next finds the wish in S3, too.
            self._release(work.message, error)
            return
        _LOG.info("cancelled", extra=work.log_fields())

    def fail(self, work: Work, failure: TaskFailure, drawing: Drawing | None = None) -> None:
        """End a task that failed: for good, or put it back for another try.

        Args:
            work: The task.
            failure: Why.
            drawing: What was drawn, if it came to that.
        """
        fields = {**work.log_fields(), "code": failure.code, "detail": failure.detail}
        if self._shutdown.over:
            self.put_back(work.message)
            return
        last = work.tries >= self._max_receive_count
        if failure.transient and not last:
            _LOG.warning("failed", extra=fields)
            self._release(work.message, failure)
            return
        _LOG.error("failed", extra=fields)
        try:
            error = TaskError(failure.code, failure.detail)
            result = self._result(work, "failed", error=error, drawing=drawing)
            standing = self._try_to_put_result(work, result)
            self._publish(work, standing)
            good = failure.transient or failure.code == "output-failed"
            if good and standing.status == "failed":
                # The task itself is good, so somebody may want to send it again.
                self._give_up(work.message, failure.code, failure.detail)
            else:
                self._delete(work.message)
        except Exception as error_of_ending:
            self._release(work.message, error_of_ending)

    def refuse(self, message: Received, reason: str) -> None:
        """Move what is not a task to the dead letters."""
        _LOG.error("refused a message", extra={"message_id": message.message_id, "detail": reason})
        try:
            self._give_up(message, "invalid-message", reason)
        except Exception as error:
            self._release(message, error)

    def put_back(self, message: Received) -> None:
        """Give a message back at once, because this agent stops."""
        self._returns.give_back([message])

    def _store(self, work: Work, drawing: Drawing, index: int, digest: str) -> ImageOutput:
        file = encode(work.task, drawing, drawing.pictures[index], digest)
        key, data = self._retrier.call(
            "storing a picture",
            lambda: self._outputs.put_picture(work.task, index, file.data, file.content_type),
        )
        return ImageOutput(
            bucket=self._outputs.bucket,
            key=key,
            content_type=file.content_type,
            width=file.width,
            height=file.height,
            size_bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            seed=file.seed,
        )

    def _result(
        self,
        work: Work,
        status: str,
        *,
        images: tuple[ImageOutput, ...] = (),
        error: TaskError | None = None,
        drawing: Drawing | None = None,
    ) -> ResultMessage:
        request = work.task.request
        return ResultMessage(
            task_id=work.task.task_id,
            status=status,
            model=request.model,
            runtime=self._runtime_name,
            runtime_class=self._runtime_class,
            task_type=request.task_type,
            timings=work.timings(),
            images=images,
            parameters=drawing.parameters if drawing else None,
            error=error,
            attempt=min(work.tries, self._max_receive_count),
            context=request.context,
        )

    def _put_result(self, work: Work, result: ResultMessage) -> ResultMessage:
        return self._retrier.call(
            "storing a result",
            lambda: self._outputs.put_result(
                work.task, result, replace_failure=work.message.redriven
            ),
        )

    def _try_to_put_result(self, work: Work, result: ResultMessage) -> ResultMessage:
        try:
            return self._put_result(work, result)
        except Exception as error:
            if is_away(error):
                # Another agent may have stored a success, and a task has one result.
                raise
            # The client shall hear of it even so.
            _LOG.warning("could not store the result: %s", error, extra=work.log_fields())
            return result

    def _publish(self, work: Work, result: ResultMessage) -> None:
        self._retrier.call("publishing a result", lambda: self._announcements.publish(result))

    def _delete(self, message: Received) -> None:
        self._retrier.call("deleting a message", lambda: self._queue.delete(message))
        self._leases.end(message)
        self._returns.forget(message)

    def _give_up(self, message: Received, code: str, detail: str) -> None:
        # Two calls, so that a deletion that fails does not send another copy.
        self._retrier.call(
            "copying a message to the dead letters",
            lambda: self._queue.copy_to_dead_letters(message, code=code, detail=detail),
        )
        self._delete(message)

    def _release(self, message: Received, error: Exception) -> None:
        _LOG.warning("put back", extra={"message_id": message.message_id, "detail": str(error)})
        seconds = min(2**message.receive_count, _LONGEST_BACKOFF_SECONDS)
        self._leases.release(message, after_seconds=0 if self._shutdown.requested else seconds)


def _output_failure(error: Exception) -> TaskFailure:
    # Where S3 or SNS says no rather than nothing, drawing again would not change its mind.
    return TaskFailure("output-failed", str(error), transient=not is_refusal(error))


def _figures(result: ResultMessage) -> dict[str, float]:
    timings = result.timings
    return {
        "waiting_seconds": timings.waiting_seconds,
        "loading_seconds": timings.loading_seconds,
        "generating_seconds": timings.generating_seconds,
        "delivering_seconds": timings.delivering_seconds,
    }
