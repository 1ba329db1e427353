"""Telling how a task is, and asking for its end, by what lies in its folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Protocol

from ..contract.progress import CANCELLING, QUEUED, REPORT_HOLDS, TaskProgress
from ..contract.reference import TaskReference
from ..contract.result import CANCELLED
from ..contract.times import parse_timestamp, timestamp
from .refusal import Refusal

RETRY_AFTER_SECONDS = 5


class TasksUnavailable(Exception):
    """It cannot be said or changed now how a task is."""


class TaskFolders(Protocol):
    """The tasks' folders in the output bucket. Each method may raise `TasksUnavailable`."""

    def result(self, task: TaskReference) -> dict[str, Any] | None:
        """Return a task's result, if there is one."""

    def progress(self, task: TaskReference) -> TaskProgress | None:
        """Return what an agent said last about a task, if it said anything."""

    def cancellation(self, task: TaskReference) -> TaskProgress | None:
        """Return the request to cancel a task, if there is one."""

    def cancel(self, task: TaskReference, request: TaskProgress) -> None:
        """Leave a request to cancel a task."""


class Tasks:
    """What the API knows of tasks: only what their folders hold."""

    def __init__(
        self,
        folders: TaskFolders,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> None:
        """Take what it works with.

        Args:
            folders: The tasks' folders.
            clock: The time. Default: now.
        """
        self._folders = folders
        self._clock = clock

    def describe(self, task: TaskReference) -> dict[str, Any]:
        """Return a task's result or, until there is one, what is known of it.

        Args:
            task: The task.

        Raises:
            Refusal: 503 if that cannot be said now.
        """
        try:
            return self._describe(task)
        except TasksUnavailable as error:
            raise _later("It cannot be said now how the task is.") from error

    def cancel(self, task: TaskReference) -> tuple[int, dict[str, Any]]:
        """Ask for a task's end; asking again changes nothing.

        Args:
            task: The task.

        Returns:
            Status and body of the answer: 202 with what is known of the task, or 200 with its
            result if it has been cancelled already.

        Raises:
            Refusal: 409 if it has ended otherwise, 503 if it could not be asked for.
        """
        try:
            if (result := self._folders.result(task)) is not None:
                if result["status"] == CANCELLED:
                    return 200, result
                raise Refusal(409, f"The task has ended already: it has {result['status']}.")
            request = TaskProgress(task.task_id, CANCELLING, timestamp(self._clock()))
            self._folders.cancel(task, request)
        except TasksUnavailable as error:
            raise _later("The task may not be cancelled: send the request again.") from error
        return 202, request.to_dict()

    def _describe(self, task: TaskReference) -> dict[str, Any]:
        if (result := self._folders.result(task)) is not None:
            return result
        cancellation = self._folders.cancellation(task)
        progress = self._folders.progress(task)
        if progress is None or not self._holds(progress):
            return (cancellation or TaskProgress(task.task_id, QUEUED)).to_dict()
        if cancellation is not None:
            progress = replace(progress, status=CANCELLING)
        return progress.to_dict()

    def _holds(self, progress: TaskProgress) -> bool:
        """Tell whether an agent runs the task still; one that was killed says so no more."""
        if progress.updated_at is None:
            return False
        return self._clock() - parse_timestamp(progress.updated_at) < REPORT_HOLDS


def _later(detail: str) -> Refusal:
    return Refusal(503, detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})
