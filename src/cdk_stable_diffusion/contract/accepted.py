"""What the API answers when a task is on its way."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from .fields import Field, Text
from .message import (
    RUNTIME_CLASS_FIELD,
    RUNTIME_FIELD,
    SUBMITTED_AT_FIELD,
    TASK_ID_FIELD,
)
from .task import MODEL_FIELD

ACCEPTED_FIELDS: tuple[Field, ...] = (
    TASK_ID_FIELD,
    MODEL_FIELD,
    RUNTIME_FIELD,
    RUNTIME_CLASS_FIELD,
    Text(
        "output_location",
        "Folder in S3 in which pictures and result will be.",
        required=True,
        min_length=1,
        max_length=1100,
    ),
    SUBMITTED_AT_FIELD,
    Text(
        "task_path",
        "Path of the task behind the endpoint: GET tells how it is, DELETE cancels it.",
        required=True,
        min_length=1,
        max_length=400,
    ),
)


@dataclass(frozen=True)
class TaskAccepted:
    """The body of a 202 answer; the fields are described in `ACCEPTED_FIELDS`."""

    task_id: str
    model: str
    runtime: str
    runtime_class: str
    output_location: str
    submitted_at: str
    task_path: str

    def to_dict(self) -> dict[str, str]:
        """Return the answer as a JSON object."""
        return asdict(self)
