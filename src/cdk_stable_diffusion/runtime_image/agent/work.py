"""One task on its way through the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from ...contract import TaskMessage, Timings, parse_timestamp, timestamp
from .task_queue import Received

_LONGEST_SECONDS = 7 * 24 * 3600.0


@dataclass
class Work:
    """A task in hand, with its stopwatch.

    Attributes:
        message: The message that it came in.
        task: The task.
        tries: How often it has been tried, this time included.
        inputs: Files of its input images, by the request's field.
        key: What is equal for all tasks that may share its pass; None to be alone.
        started_at: When the agent began it.
        loading_seconds: Loading the model.
        generating_seconds: Generating; of a pass that several tasks shared, the part of this
            one's pictures.
        delivering_seconds: Encoding and storing.
        step: Denoising steps that are done.
        steps: Denoising steps in all, once the first is done.
        cancelled: Whether its client wants it no more.
    """

    message: Received
    task: TaskMessage
    tries: int = 1
    inputs: dict[str, bytes] = field(default_factory=dict, repr=False)
    key: str | None = None
    started_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))
    loading_seconds: float = 0.0
    generating_seconds: float = 0.0
    delivering_seconds: float = 0.0
    step: int = 0
    steps: int | None = None
    cancelled: bool = False

    def begin(self) -> None:
        """Begin it, now; and anew after a pass that failed, of which nothing is left."""
        self.started_at = datetime.now(timezone.utc)
        self.step, self.steps = 0, None

    def timings(self) -> Timings:
        """Return where the time went, as of now."""
        waiting = (self.started_at - parse_timestamp(self.task.submitted_at)).total_seconds()
        return Timings(
            submitted_at=self.task.submitted_at,
            started_at=timestamp(self.started_at),
            finished_at=timestamp(),
            waiting_seconds=_seconds(waiting),
            loading_seconds=_seconds(self.loading_seconds),
            generating_seconds=_seconds(self.generating_seconds),
            delivering_seconds=_seconds(self.delivering_seconds),
        )

    def log_fields(self) -> dict[str, Any]:
        """Return the fields by which its log lines are found."""
        return {
            "task_id": self.task.task_id,
            "model": self.task.request.model,
            "attempt": self.tries,
            "traceparent": self.task.traceparent,
        }


def _seconds(value: float) -> float:
    # Clocks of different machines disagree; a wait is never negative for that.
    return round(min(max(value, 0.0), _LONGEST_SECONDS), 3)
