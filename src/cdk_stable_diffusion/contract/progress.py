"""What is known of a task that has not ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

from . import strict_json
from .fault import Fault, InvalidMessage
from .fields import Choice, Field, Integer, object_faults
from .message import RUNTIME_FIELD, TASK_ID_FIELD, VERSION_FIELD
from .task import MODEL_FIELD
from .times import Moment
from .version import CONTRACT_VERSION

QUEUED = "queued"
"""No agent runs the task, or none has said so yet. Also of a task that never was."""

RUNNING = "running"
CANCELLING = "cancelling"
PROGRESS_STATUSES = (QUEUED, RUNNING, CANCELLING)

REPORT_EVERY = timedelta(seconds=5)
"""How long a task runs before an agent says so, and how long between two reports."""

REPORT_HOLDS = timedelta(seconds=60)
"""How long a report is believed: an agent that has said nothing for so long is gone."""

PROGRESS_FIELDS: tuple[Field, ...] = (
    VERSION_FIELD,
    TASK_ID_FIELD,
    Choice(
        "status",
        "queued: it waits, or has run for less than some seconds, or there is no such task; "
        "running; cancelling: it will end soon, as cancelled or as it would have anyway.",
        required=True,
        choices=PROGRESS_STATUSES,
    ),
    Moment("updated_at", "When the agent said so, or the cancellation was asked for."),
    replace(MODEL_FIELD, required=False),
    replace(RUNTIME_FIELD, required=False),
    Integer("attempt", "Which try this is.", minimum=1),
    Moment("started_at", "When the agent began the task."),
    Integer("step", "Denoising steps that are done; 0 while the model loads."),
    Integer("steps", "Denoising steps in all, once the first is done."),
)


@dataclass(frozen=True)
class TaskProgress:
    """A task that has not ended; the fields are described in `PROGRESS_FIELDS`."""

    task_id: str
    status: str
    updated_at: str | None = None
    model: str | None = None
    runtime: str | None = None
    attempt: int | None = None
    started_at: str | None = None
    step: int | None = None
    steps: int | None = None
    version: str = CONTRACT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return what is known as a JSON object; what is not known is left out."""
        values = asdict(self)
        return {
            field.name: values[field.name]
            for field in PROGRESS_FIELDS
            if values[field.name] is not None
        }

    def to_json(self) -> str:
        """Return what is known as compact JSON."""
        return strict_json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> TaskProgress:
        """Read what `to_json` wrote.

        Args:
            text: The document.

        Raises:
            InvalidMessage: With every fault.
        """
        try:
            value = strict_json.loads(text)
        except ValueError as error:
            raise InvalidMessage("task progress", [Fault("", str(error))]) from None
        faults = object_faults(value, PROGRESS_FIELDS)
        if faults:
            raise InvalidMessage("task progress", faults)
        return cls(**value)
