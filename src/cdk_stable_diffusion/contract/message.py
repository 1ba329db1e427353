"""What the API puts on the request topic and the agent takes from its queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import strict_json
from .fault import Fault, InvalidMessage
from .fields import Choice, Field, Text, object_faults
from .identity import TASK_ID_PATTERN, derive_seed
from .names import RUNTIME_NAME_PATTERN, RUNTIME_NAME_SAYS
from .routing import RUNTIME_CLASSES
from .task import TaskRequest, request_faults, request_schema
from .times import Moment
from .version import CONTRACT_VERSION

VERSION_FIELD = Choice(
    "version", "Version of the contract.", required=True, choices=(CONTRACT_VERSION,)
)
TASK_ID_FIELD = Text(
    "task_id",
    "The task's id, a UUID.",
    required=True,
    min_length=36,
    max_length=36,
    pattern=TASK_ID_PATTERN,
    pattern_says="a UUID in lower case",
)
SUBMITTED_AT_FIELD = Moment("submitted_at", "When the API accepted the task.", required=True)
RUNTIME_FIELD = Text(
    "runtime",
    "Name of the runtime that serves the task.",
    required=True,
    max_length=40,
    pattern=RUNTIME_NAME_PATTERN,
    pattern_says=RUNTIME_NAME_SAYS,
)
RUNTIME_CLASS_FIELD = Choice(
    "runtime_class",
    "Whether that runtime preloads its models (static) or loads them on demand (dynamic).",
    required=True,
    choices=RUNTIME_CLASSES,
)
TRACEPARENT_FIELD = Text(
    "traceparent",
    "W3C trace context of the request, if it is traced.",
    max_length=55,
    pattern=r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    pattern_says="a W3C traceparent",
)


@dataclass(frozen=True)
class RequestField(Field):
    """The field that holds a whole task request."""

    def faults(self, value: Any) -> list[str]:
        """Say what is wrong with a value."""
        return [f"{fault.pointer} {fault.detail}".strip() for fault in request_faults(value)]

    def _type_schema(self) -> dict[str, Any]:
        return request_schema()


MESSAGE_FIELDS: tuple[Field, ...] = (
    VERSION_FIELD,
    TASK_ID_FIELD,
    SUBMITTED_AT_FIELD,
    RUNTIME_FIELD,
    RUNTIME_CLASS_FIELD,
    RequestField("request", "The checked request.", required=True),
    TRACEPARENT_FIELD,
)


@dataclass(frozen=True)
class TaskMessage:
    """An accepted task on its way to a runtime.

    Attributes:
        task_id: The task's id.
        submitted_at: When the API accepted it (see `contract.times`).
        runtime: Name of the runtime that serves it.
        runtime_class: "static" or "dynamic".
        request: The checked request.
        traceparent: W3C trace context, if the request is traced.
        version: Version of the contract.
    """

    task_id: str
    submitted_at: str
    runtime: str
    runtime_class: str
    request: TaskRequest
    traceparent: str | None = None
    version: str = CONTRACT_VERSION

    @property
    def seed(self) -> int:
        """Seed of the first picture: the client's, or one derived from the task id."""
        return derive_seed(self.task_id) if self.request.seed is None else self.request.seed

    def to_dict(self) -> dict[str, Any]:
        """Return the message as a JSON object."""
        return {
            "version": self.version,
            "task_id": self.task_id,
            "submitted_at": self.submitted_at,
            "runtime": self.runtime,
            "runtime_class": self.runtime_class,
            "request": self.request.to_dict(),
            "traceparent": self.traceparent,
        }

    def to_json(self) -> str:
        """Return the message as compact JSON."""
        return strict_json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> TaskMessage:
        """Read a message.

        Args:
            text: The body of the queue's message.

        Returns:
            The message.

        Raises:
            InvalidMessage: With every fault.
        """
        try:
            value = strict_json.loads(text)
        except ValueError as error:
            raise InvalidMessage("task message", [Fault("", str(error))]) from None
        faults = object_faults(value, MESSAGE_FIELDS)
        if faults:
            raise InvalidMessage("task message", faults)
        return cls(**{**value, "request": TaskRequest.parse(value["request"])})

    def attributes(self) -> dict[str, str]:
        """Return the attributes that subscriptions may filter on, but for the lane.

        A task's lane is the API's choice and no part of the task: see `RouteTable.lane`.
        """
        return {
            "model": self.request.model,
            "runtime": self.runtime,
            "runtime_class": self.runtime_class,
            "task_type": self.request.task_type,
        }
