"""What a client asks for: the body of ``POST /v1/tasks``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from . import limits
from .fault import Fault, InvalidTask
from .fields import AnyJson, Choice, Field, Integer, Number, Text, object_faults, with_defaults
from .names import MODEL_NAME_PATTERN, MODEL_NAME_SAYS

TASK_TYPES = ("text-to-image",)
OUTPUT_FORMATS = ("png", "jpeg", "webp")
SCHEDULERS = (
    "ddim",
    "dpmpp_2m",
    "dpmpp_2m_karras",
    "euler",
    "euler_ancestral",
    "heun",
    "lcm",
    "pndm",
    "unipc",
)

_SEGMENT = r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*"

MODEL_DECIDES = " Default: the model's own."
"""What ends the description of a field for which each model has a value of its own."""

MODEL_FIELD = Text(
    "model",
    "Name of the model, as it is called in the model bucket.",
    required=True,
    min_length=1,
    max_length=limits.MAX_MODEL_NAME_CHARACTERS,
    pattern=MODEL_NAME_PATTERN,
    pattern_says=MODEL_NAME_SAYS,
)
TASK_TYPE_FIELD = Choice("task_type", "What to do.", default="text-to-image", choices=TASK_TYPES)

TASK_FIELDS: tuple[Field, ...] = (
    TASK_TYPE_FIELD,
    MODEL_FIELD,
    Text(
        "prompt",
        "What the picture shall show. Never fetched, whatever it looks like.",
        required=True,
        min_length=1,
        max_length=limits.MAX_PROMPT_CHARACTERS,
    ),
    Text(
        "negative_prompt",
        "What the picture shall not show.",
        default="",
        max_length=limits.MAX_PROMPT_CHARACTERS,
    ),
    Integer(
        "width",
        f"Width in pixels.{MODEL_DECIDES}",
        minimum=limits.MIN_SIDE_PIXELS,
        maximum=limits.MAX_SIDE_PIXELS,
        multiple_of=limits.SIDE_MULTIPLE_PIXELS,
    ),
    Integer(
        "height",
        f"Height in pixels.{MODEL_DECIDES}",
        minimum=limits.MIN_SIDE_PIXELS,
        maximum=limits.MAX_SIDE_PIXELS,
        multiple_of=limits.SIDE_MULTIPLE_PIXELS,
    ),
    Integer(
        "steps",
        f"Denoising steps.{MODEL_DECIDES}",
        minimum=limits.MIN_STEPS,
        maximum=limits.MAX_STEPS,
    ),
    Number(
        "guidance_scale",
        f"Classifier-free guidance scale: how strongly the prompt binds.{MODEL_DECIDES}",
        minimum=limits.MIN_GUIDANCE_SCALE,
        maximum=limits.MAX_GUIDANCE_SCALE,
    ),
    Integer(
        "seed",
        "Seed of the first picture; picture i has seed + i. Default: derived from the task id.",
        minimum=0,
        maximum=limits.MAX_SEED,
    ),
    Integer(
        "num_images",
        "How many pictures.",
        default=1,
        minimum=1,
        maximum=limits.MAX_IMAGES,
    ),
    Choice("scheduler", f"Noise scheduler.{MODEL_DECIDES}", choices=SCHEDULERS),
    Choice("output_format", "File format.", default="png", choices=OUTPUT_FORMATS),
    Text(
        "output_prefix",
        "Folder in the output bucket under which the task's own folder is made.",
        default="",
        max_length=limits.MAX_OUTPUT_PREFIX_CHARACTERS,
        pattern=rf"(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?",
        pattern_says=(
            "folder names of letters, digits and . _ = - that do not start with a dot, "
            "separated by single slashes, with no slash in front"
        ),
    ),
    AnyJson(
        "context",
        "Any JSON of the client's own; comes back in the result as it was.",
        max_bytes=limits.MAX_CONTEXT_BYTES,
        max_depth=limits.MAX_CONTEXT_DEPTH,
    ),
    Text(
        "idempotency_key",
        "The same request sent again with the same key is the same task.",
        min_length=1,
        max_length=limits.MAX_IDEMPOTENCY_KEY_CHARACTERS,
        pattern=r"[A-Za-z0-9._:/+=@-]+",
        pattern_says="letters, digits and . _ : / + = @ -",
    ),
)


@dataclass(frozen=True)
class TaskRequest:
    """A checked request. `None` means that the model's own default decides.

    Attributes:
        model: Name of the model.
        prompt: What the picture shall show.
        task_type: What to do; one of `TASK_TYPES`.
        negative_prompt: What the picture shall not show.
        width: Width in pixels.
        height: Height in pixels.
        steps: Denoising steps.
        guidance_scale: Classifier-free guidance scale.
        seed: Seed of the first picture.
        num_images: How many pictures.
        scheduler: Noise scheduler; one of `SCHEDULERS`.
        output_format: File format; one of `OUTPUT_FORMATS`.
        output_prefix: Folder in the output bucket, without a slash at its end.
        context: Any JSON of the client's own.
        idempotency_key: Makes the same request the same task.
    """

    model: str
    prompt: str
    task_type: str = "text-to-image"
    negative_prompt: str = ""
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    seed: int | None = None
    num_images: int = 1
    scheduler: str | None = None
    output_format: str = "png"
    output_prefix: str = ""
    context: Any = None
    idempotency_key: str | None = None

    @classmethod
    def parse(cls, value: Any) -> TaskRequest:
        """Check a request and fill in its defaults.

        Args:
            value: The body, as read from JSON.

        Returns:
            The request.

        Raises:
            InvalidTask: With every fault.
        """
        faults = request_faults(value)
        if faults:
            raise InvalidTask("task request", faults)
        values = with_defaults(value, TASK_FIELDS)
        values["output_prefix"] = values["output_prefix"].rstrip("/")
        if values["guidance_scale"] is not None:
            values["guidance_scale"] = float(values["guidance_scale"])
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the request as a JSON object that `parse` accepts."""
        return asdict(self)


def request_faults(value: Any) -> list[Fault]:
    """Return every fault of a request body, as read from JSON."""
    faults = object_faults(value, TASK_FIELDS)
    if faults:
        return faults
    return _size_faults(with_defaults(value, TASK_FIELDS))


def _size_faults(values: dict[str, Any]) -> list[Fault]:
    if values["width"] is None or values["height"] is None:
        return []
    pixels = values["width"] * values["height"] * values["num_images"]
    if pixels <= limits.MAX_PIXELS_PER_TASK:
        return []
    return [
        Fault(
            "/num_images",
            f"width x height x num_images must be at most {limits.MAX_PIXELS_PER_TASK} pixels, "
            f"is {pixels}",
        )
    ]
