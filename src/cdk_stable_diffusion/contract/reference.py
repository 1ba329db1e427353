"""What names a task to the API: its id, and the folder that its client chose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from .fault import InvalidTask
from .fields import Field, object_faults, with_defaults
from .message import TASK_ID_FIELD
from .task import OUTPUT_PREFIX_FIELD

TASKS_PATH = "/v1/tasks"

REFERENCE_FIELDS: tuple[Field, ...] = (TASK_ID_FIELD, OUTPUT_PREFIX_FIELD)


@dataclass(frozen=True)
class TaskReference:
    """All that is needed to find a task's folder, since no table of tasks is kept.

    Attributes:
        task_id: The task's id.
        output_prefix: Folder that its request named, without a slash at its end.
    """

    task_id: str
    output_prefix: str = ""

    @classmethod
    def parse(cls, value: Any) -> TaskReference:
        """Check a reference.

        Args:
            value: An object with `task_id` and, where the request had one, `output_prefix`.

        Returns:
            The reference. Its parts are safe as parts of an S3 key.

        Raises:
            InvalidTask: With every fault.
        """
        faults = object_faults(value, REFERENCE_FIELDS)
        if faults:
            raise InvalidTask("task reference", faults)
        values = with_defaults(value, REFERENCE_FIELDS)
        return cls(values["task_id"], values["output_prefix"].rstrip("/"))

    @property
    def path(self) -> str:
        """The task's path behind the API's endpoint, with its query."""
        query = {"output_prefix": self.output_prefix} if self.output_prefix else {}
        return f"{TASKS_PATH}/{self.task_id}" + (f"?{urlencode(query, safe='/')}" if query else "")
