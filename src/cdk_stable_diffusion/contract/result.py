"""What a runtime says when a task has ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from . import limits, strict_json
from .assets import ADAPTER_FIELDS, EMBEDDINGS_FIELD, VAE_FIELD, Adapter, read_adapters
from .fault import Fault, InvalidMessage
from .fields import (
    AnyJson,
    Choice,
    Field,
    Integer,
    Number,
    ObjectField,
    Text,
    TextList,
    object_faults,
    with_defaults,
)
from .message import (
    RUNTIME_CLASS_FIELD,
    RUNTIME_FIELD,
    SUBMITTED_AT_FIELD,
    TASK_ID_FIELD,
    VERSION_FIELD,
)
from .task import MODEL_FIELD, OUTPUT_FORMATS, SCHEDULERS
from .task_type import TASK_TYPES
from .times import Moment
from .version import CONTRACT_VERSION

CANCELLED = "cancelled"
"""The status of a task that its client cancelled before it could end otherwise."""

STATUSES = ("succeeded", "failed", CANCELLED)

CONTENT_TYPES = (*(f"image/{name}" for name in OUTPUT_FORMATS), "image/gif", "video/mp4")
"""Media types of results: what a request can ask for, and what moves."""

ERROR_CODES = (
    "invalid-message",
    "model-not-found",
    "model-invalid",
    "unsupported-request",
    "input-invalid",
    "generation-failed",
    "out-of-memory",
    "deadline-exceeded",
    "output-failed",
)
"""Why a task failed: the message, the model, the request, its input images or the run."""

_SECONDS = 7 * 24 * 3600.0


def _seconds(name: str, description: str) -> Number:
    return Number(name, description, required=True, minimum=0.0, maximum=_SECONDS)


SHA256_FIELD = Text(
    "sha256",
    "SHA-256 of the file.",
    required=True,
    max_length=64,
    pattern="[0-9a-f]{64}",
    pattern_says="64 hexadecimal digits",
)

_NOT_KNOWN = " Null where it is not known, as of a video."

IMAGE_FIELDS: tuple[Field, ...] = (
    Text("bucket", "Bucket of the picture.", required=True, min_length=3, max_length=63),
    Text("key", "Key of the picture.", required=True, min_length=1, max_length=1024),
    Choice(
        "content_type",
        "Media type.",
        required=True,
        choices=CONTENT_TYPES,
    ),
    Integer("width", f"Width in pixels.{_NOT_KNOWN}", minimum=1, maximum=limits.MAX_OUTPUT_SIDE),
    Integer("height", f"Height in pixels.{_NOT_KNOWN}", minimum=1, maximum=limits.MAX_OUTPUT_SIDE),
    Integer("size_bytes", "Size of the file.", required=True, minimum=1),
    SHA256_FIELD,
    Integer("seed", "Seed of the picture.", required=True, maximum=limits.MAX_SEED),
)

PARAMETER_FIELDS: tuple[Field, ...] = (
    Integer("width", f"Width in pixels.{_NOT_KNOWN}", minimum=1, maximum=limits.MAX_OUTPUT_SIDE),
    Integer("height", f"Height in pixels.{_NOT_KNOWN}", minimum=1, maximum=limits.MAX_OUTPUT_SIDE),
    Integer(
        "steps",
        "Denoising steps; null where nothing was drawn.",
        minimum=1,
        maximum=limits.MAX_STEPS,
    ),
    Number(
        "guidance_scale",
        "Classifier-free guidance scale; null where nothing was drawn.",
        maximum=limits.MAX_GUIDANCE_SCALE,
    ),
    Integer("seed", "Seed of the first picture.", required=True, maximum=limits.MAX_SEED),
    Choice("scheduler", "Noise scheduler; null is the model's own.", choices=SCHEDULERS),
    Number("strength", "How far from the picture the result went, where there was one."),
    Integer(
        "scale",
        "How many times wider and higher the picture was made.",
        minimum=limits.MIN_SCALE,
        maximum=limits.MAX_SCALE,
        multiple_of=limits.SCALE_MULTIPLE,
    ),
    ObjectField("adapters", "LoRA adapters that were added.", fields=ADAPTER_FIELDS, many=True),
    TextList(
        "embeddings",
        "Textual inversion embeddings that were added.",
        items=EMBEDDINGS_FIELD.items,
        max_items=limits.MAX_EMBEDDINGS,
    ),
    replace(VAE_FIELD, description="The autoencoder, where it was not the model's own."),
    Number(
        "control_scale",
        "How strongly the ControlNet bound, where there was a control_image.",
        minimum=limits.MIN_CONTROL_SCALE,
        maximum=limits.MAX_CONTROL_SCALE,
    ),
)

ERROR_FIELDS: tuple[Field, ...] = (
    Choice("code", "Why the task failed.", required=True, choices=ERROR_CODES),
    Text(
        "detail",
        "The reason in words.",
        required=True,
        max_length=limits.MAX_ERROR_DETAIL_CHARACTERS,
    ),
)

TIMING_FIELDS: tuple[Field, ...] = (
    SUBMITTED_AT_FIELD,
    Moment("started_at", "When an agent took the task.", required=True),
    Moment("finished_at", "When its pictures were stored, or it ended without.", required=True),
    _seconds("waiting_seconds", "From submitted to started."),
    _seconds("loading_seconds", "Loading the model; 0 where it was loaded."),
    _seconds(
        "generating_seconds",
        "Generating the pictures; where tasks shared a pass, this one's part of it by pictures.",
    ),
    _seconds("delivering_seconds", "Encoding and storing the pictures."),
)


RESULT_FIELDS: tuple[Field, ...] = (
    VERSION_FIELD,
    TASK_ID_FIELD,
    Choice("status", "How the task ended.", required=True, choices=STATUSES),
    MODEL_FIELD,
    RUNTIME_FIELD,
    RUNTIME_CLASS_FIELD,
    Choice("task_type", "What was asked for.", required=True, choices=TASK_TYPES),
    ObjectField(
        "images",
        "The pictures, in order; empty unless the task succeeded. A workflow may make videos, too.",
        required=True,
        fields=IMAGE_FIELDS,
        many=True,
    ),
    ObjectField(
        "parameters", "The values that were used; null if nothing ran.", fields=PARAMETER_FIELDS
    ),
    ObjectField("error", "Why the task failed; null if it did not.", fields=ERROR_FIELDS),
    ObjectField("timings", "Where the time went.", required=True, fields=TIMING_FIELDS),
    Integer(
        "attempt",
        "Which try this was; being given back before it began is none.",
        required=True,
        minimum=1,
    ),
    AnyJson(
        "context",
        "The client's own JSON, as it came.",
        max_bytes=limits.MAX_CONTEXT_BYTES,
        max_depth=limits.MAX_CONTEXT_DEPTH,
    ),
)


@dataclass(frozen=True)
class ImageOutput:
    """A stored picture; the fields are described in `IMAGE_FIELDS`."""

    bucket: str
    key: str
    content_type: str
    width: int | None
    height: int | None
    size_bytes: int
    sha256: str
    seed: int


@dataclass(frozen=True)
class Parameters:
    """The values that a task ran with; the fields are described in `PARAMETER_FIELDS`."""

    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    seed: int
    scheduler: str | None = None
    strength: float | None = None
    scale: int | None = None
    adapters: tuple[Adapter, ...] = ()
    embeddings: tuple[str, ...] = ()
    vae: str | None = None
    control_scale: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the values as a JSON object.

        Those that came later are left out where they are not used, so that readers of before know
        the rest still.
        """
        values = asdict(self)
        for name in ("adapters", "embeddings"):
            values[name] = list(values[name])
        return {
            name: value
            for name, value in values.items()
            if (value is not None and value != []) or name not in _LATER_PARAMETERS
        }

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Parameters:
        """Read values from a checked JSON object."""
        values = with_defaults(value, PARAMETER_FIELDS)
        values["adapters"] = read_adapters(values["adapters"])
        values["embeddings"] = tuple(values["embeddings"] or ())
        return cls(**values)


_LATER_PARAMETERS = frozenset(
    {"strength", "scale", "adapters", "embeddings", "vae", "control_scale"}
)


@dataclass(frozen=True)
class TaskError:
    """Why a task failed: one of `ERROR_CODES`, and the reason in words."""

    code: str
    detail: str


@dataclass(frozen=True)
class Timings:
    """Where a task's time went; the fields are described in `TIMING_FIELDS`."""

    submitted_at: str
    started_at: str
    finished_at: str
    waiting_seconds: float
    loading_seconds: float
    generating_seconds: float
    delivering_seconds: float


@dataclass(frozen=True)
class ResultMessage:
    """How a task ended: the message on the result topic and the file beside the pictures.

    The fields are described in `RESULT_FIELDS`.
    """

    task_id: str
    status: str
    model: str
    runtime: str
    runtime_class: str
    task_type: str
    timings: Timings
    images: tuple[ImageOutput, ...] = field(default_factory=tuple)
    parameters: Parameters | None = None
    error: TaskError | None = None
    attempt: int = 1
    context: Any = None
    version: str = CONTRACT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        values = asdict(self)
        values["images"] = list(values["images"])
        if self.parameters is not None:
            values["parameters"] = self.parameters.to_dict()
        return {name.name: values[name.name] for name in RESULT_FIELDS}

    def to_json(self) -> str:
        """Return the result as compact JSON."""
        return strict_json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, text: str) -> ResultMessage:
        """Read a result.

        Args:
            text: The message or the file.

        Returns:
            The result.

        Raises:
            InvalidMessage: With every fault.
        """
        try:
            value = strict_json.loads(text)
        except ValueError as error:
            raise InvalidMessage("result message", [Fault("", str(error))]) from None
        faults = object_faults(value, RESULT_FIELDS)
        if faults:
            raise InvalidMessage("result message", faults)
        parts = {
            "images": tuple(
                ImageOutput(**with_defaults(image, IMAGE_FIELDS)) for image in value["images"]
            ),
            "timings": Timings(**value["timings"]),
            "parameters": (
                Parameters.from_dict(value["parameters"]) if value.get("parameters") else None
            ),
            "error": TaskError(**value["error"]) if value.get("error") else None,
        }
        return cls(**{**value, **parts})

    def attributes(self) -> dict[str, str]:
        """Return the attributes that a backend's subscription can filter on."""
        return {
            "runtime": self.runtime,
            "runtime_class": self.runtime_class,
            "status": self.status,
            "model": self.model,
            "task_type": self.task_type,
        }
