"""What a client asks for: the body of ``POST /v1/tasks``."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from . import limits
from .assets import ADAPTERS_FIELD, EMBEDDINGS_FIELD, VAE_FIELD, Adapter, read_adapters
from .fault import Fault, InvalidTask
from .fields import (
    AnyJson,
    Choice,
    Field,
    ImageReference,
    Integer,
    Number,
    Text,
    object_faults,
    object_schema,
    pointer,
    with_defaults,
)
from .names import MODEL_NAME_PATTERN, MODEL_NAME_SAYS
from .task_type import (
    IMAGE_TO_IMAGE,
    INPAINTING,
    TASK_TYPE_RULES,
    TASK_TYPES,
    TEXT_TO_IMAGE,
)

OUTPUT_FORMATS = ("png", "jpeg", "webp")
SCHEDULERS = (
    "ddim",
    "dpmpp_2m",
    "dpmpp_2m_exponential",
    "dpmpp_2m_karras",
    "dpmpp_2m_sde",
    "dpmpp_2m_sde_exponential",
    "dpmpp_2m_sde_karras",
    "dpmpp_sde",
    "dpmpp_sde_karras",
    "euler",
    "euler_ancestral",
    "euler_exponential",
    "euler_karras",
    "flow_match_euler",
    "heun",
    "heun_karras",
    "lcm",
    "pndm",
    "unipc",
    "unipc_karras",
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
TASK_TYPE_FIELD = Choice("task_type", "What to do.", default=TEXT_TO_IMAGE, choices=TASK_TYPES)

OUTPUT_PREFIX_FIELD = Text(
    "output_prefix",
    "Folder in the output bucket under which the task's own folder is made.",
    default="",
    max_length=limits.MAX_OUTPUT_PREFIX_CHARACTERS,
    pattern=rf"(?:{_SEGMENT}(?:/{_SEGMENT})*/?)?",
    pattern_says=(
        "folder names of letters, digits and . _ = - that do not start with a dot, "
        "separated by single slashes, with no slash in front"
    ),
)

PICTURE_DECIDES = " Default: the model's own; where a picture is given, that picture's."
"""What ends the description of a size."""

TASK_FIELDS: tuple[Field, ...] = (
    TASK_TYPE_FIELD,
    MODEL_FIELD,
    Text(
        "prompt",
        "What the picture shall show. Never fetched, whatever it looks like. Needed by every task "
        "type but upscale, where only an upscaler's model takes one.",
        default="",
        max_length=limits.MAX_PROMPT_CHARACTERS,
    ),
    Text(
        "negative_prompt",
        "What the picture shall not show.",
        default="",
        max_length=limits.MAX_PROMPT_CHARACTERS,
    ),
    ImageReference(
        "image",
        "The picture to begin with, a PNG, JPEG or WebP: s3://bucket/key, an https:// URL on a "
        "host that the runtime allows, or a data URL. Needed by every task type but text-to-image.",
        max_length=limits.MAX_INPUT_REFERENCE_CHARACTERS,
    ),
    ImageReference(
        "mask",
        "What of the picture to draw anew, as a picture of the same size: white is drawn anew, "
        "black is kept. Needed by inpainting.",
        max_length=limits.MAX_INPUT_REFERENCE_CHARACTERS,
    ),
    Number(
        "strength",
        "How far from the picture the result may go, in image-to-image and inpainting: that share "
        f"of the steps is made, and one at least. Default: {IMAGE_TO_IMAGE} 0.8, {INPAINTING} 1.",
        minimum=limits.MIN_STRENGTH,
        maximum=limits.MAX_STRENGTH,
    ),
    Integer(
        "scale",
        "How many times wider and higher upscale makes the picture: 2 or 4.",
        minimum=limits.MIN_SCALE,
        maximum=limits.MAX_SCALE,
        multiple_of=limits.SCALE_MULTIPLE,
    ),
    Integer(
        "width",
        f"Width in pixels.{PICTURE_DECIDES}",
        minimum=limits.MIN_SIDE_PIXELS,
        maximum=limits.MAX_SIDE_PIXELS,
        multiple_of=limits.SIDE_MULTIPLE_PIXELS,
    ),
    Integer(
        "height",
        f"Height in pixels.{PICTURE_DECIDES}",
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
    Choice(
        "scheduler",
        "Noise scheduler. Models that draw by flow matching, such as SD 3 and FLUX, take "
        f"flow_match_euler alone, and others all but that.{MODEL_DECIDES}",
        choices=SCHEDULERS,
    ),
    Choice("output_format", "File format.", default="png", choices=OUTPUT_FORMATS),
    OUTPUT_PREFIX_FIELD,
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
    ADAPTERS_FIELD,
    EMBEDDINGS_FIELD,
    VAE_FIELD,
    ImageReference(
        "control_image",
        "The picture that the model's ControlNet follows, such as edges or a pose, as `image` is "
        "given. The model must have a ControlNet.",
        max_length=limits.MAX_INPUT_REFERENCE_CHARACTERS,
    ),
    Number(
        "control_scale",
        "How strongly the ControlNet binds. Default: 1.",
        minimum=limits.MIN_CONTROL_SCALE,
        maximum=limits.MAX_CONTROL_SCALE,
    ),
    Integer(
        "clip_skip",
        "Which layer of the CLIP text encoder is read, counted from its end as Automatic1111 "
        "does: 1 is the last, as SD 1 and SD 2 have it, 2 the one before, as SDXL and SD 3 have "
        f"it.{MODEL_DECIDES}",
        minimum=limits.MIN_CLIP_SKIP,
        maximum=limits.MAX_CLIP_SKIP,
    ),
)


IMAGE_FIELDS = tuple(field.name for field in TASK_FIELDS if isinstance(field, ImageReference))
"""The fields that refer to pictures."""


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
        image: Reference to the picture to begin with.
        mask: Reference to the picture that tells what to draw anew.
        strength: How far from the picture the result may go.
        scale: How many times wider and higher the picture is made.
        adapters: LoRA adapters to add to the model.
        embeddings: Names of textual inversion embeddings.
        vae: Name of an autoencoder in place of the model's own.
        control_image: Reference to the picture that the ControlNet follows.
        control_scale: How strongly the ControlNet binds.
        clip_skip: Which layer of the text encoder is read, counted from its end.
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
    image: str | None = None
    mask: str | None = None
    strength: float | None = None
    scale: int | None = None
    adapters: tuple[Adapter, ...] = ()
    embeddings: tuple[str, ...] = ()
    vae: str | None = None
    control_image: str | None = None
    control_scale: float | None = None
    clip_skip: int | None = None

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
        for name in ("guidance_scale", "strength", "control_scale"):
            if values[name] is not None:
                values[name] = float(values[name])
        values["adapters"] = read_adapters(values["adapters"])
        values["embeddings"] = tuple(values["embeddings"] or ())
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the request as a JSON object that `parse` accepts.

        The fields that came later are left out where they are not used: agents of before know
        their tasks still, and a task keeps the id that its idempotency key gave it.
        """
        values = asdict(self)
        for name in _LISTS:
            values[name] = list(values[name])
        return {
            name: value
            for name, value in values.items()
            if (value is not None and value != []) or name not in _LATER_FIELDS
        }


_LISTS = ("adapters", "embeddings")
_LATER_FIELDS = frozenset(
    {
        *("image", "mask", "strength", "scale"),
        *("adapters", "embeddings", "vae", "control_image", "control_scale", "clip_skip"),
    }
)


def request_faults(value: Any) -> list[Fault]:
    """Return every fault of a request body, as read from JSON."""
    faults = object_faults(value, TASK_FIELDS)
    if not isinstance(value, dict):
        return faults
    faults = _in_order([*faults, *_type_faults(value, {fault.pointer for fault in faults})])
    if faults:
        return faults
    values = with_defaults(value, TASK_FIELDS)
    return [*_size_faults(values), *_control_faults(values)]


def request_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request, with what each task type needs and refuses."""
    schema = object_schema(TASK_FIELDS)
    return {**schema, "anyOf": [_type_schema(task_type) for task_type in TASK_TYPES]}


def _type_faults(value: dict[str, Any], known: set[str]) -> list[Fault]:
    """Say which fields the task type lacks, and which it has no use for."""
    values = with_defaults(value, TASK_FIELDS)
    task_type = values["task_type"]
    if not isinstance(task_type, str) or task_type not in TASK_TYPES:
        return []
    rules = TASK_TYPE_RULES[task_type]
    faults = []
    for field in TASK_FIELDS:
        # An empty list is as good as none.
        given = values[field.name] not in (field.default, [])
        if pointer(field.name) in known:
            continue
        if field.name in rules.needs and not given:
            faults.append(Fault(pointer(field.name), f"is missing: {task_type} needs it"))
        elif field.name in rules.refuses and given:
            faults.append(Fault(pointer(field.name), f"does not belong to {task_type}"))
    return faults


def _type_schema(task_type: str) -> dict[str, Any]:
    rules = TASK_TYPE_RULES[task_type]
    is_default = task_type == TASK_TYPE_FIELD.default
    properties: dict[str, Any] = {"task_type": {"enum": [task_type, *([None] * is_default)]}}
    for field in TASK_FIELDS:
        not_given: dict[str, Any] = {"type": "null"}
        if field.default is not None:
            not_given = {"enum": [None, field.default]}
        elif field.schema().get("type") == "array":
            not_given = {"enum": [None, []]}
        if field.name in rules.needs:
            properties[field.name] = {"not": not_given}
        elif field.name in rules.refuses:
            properties[field.name] = not_given
    required = [*([] if is_default else ["task_type"]), *rules.needs]
    return {"properties": properties, "required": required}


def _in_order(faults: list[Fault]) -> list[Fault]:
    """Put faults in the order of the fields, with what is no field first."""
    places = {pointer(field.name): place for place, field in enumerate(TASK_FIELDS)}
    return sorted(faults, key=lambda fault: places.get(fault.pointer, -1))


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


def _control_faults(values: dict[str, Any]) -> list[Fault]:
    if values["control_scale"] is None or values["control_image"] is not None:
        return []
    return [Fault("/control_scale", "does nothing without control_image")]
