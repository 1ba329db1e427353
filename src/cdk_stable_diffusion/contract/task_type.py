"""What a task can be, and which fields each kind needs and has no use for."""

from __future__ import annotations

from dataclasses import dataclass

TEXT_TO_IMAGE = "text-to-image"
IMAGE_TO_IMAGE = "image-to-image"
INPAINTING = "inpainting"
UPSCALE = "upscale"


@dataclass(frozen=True)
class TaskTypeRules:
    """The fields of one task type; those that are named in neither list may be given or not.

    Attributes:
        needs: Fields that must be given.
        refuses: Fields that must not be, because they would do nothing.
    """

    needs: tuple[str, ...]
    refuses: tuple[str, ...]


TASK_TYPE_RULES = {
    TEXT_TO_IMAGE: TaskTypeRules(needs=("prompt",), refuses=("image", "mask", "strength", "scale")),
    IMAGE_TO_IMAGE: TaskTypeRules(needs=("prompt", "image"), refuses=("mask", "scale")),
    INPAINTING: TaskTypeRules(needs=("prompt", "image", "mask"), refuses=("scale",)),
    # The same picture, larger; an upscaler's model draws what is finer, by a prompt if it likes.
    UPSCALE: TaskTypeRules(
        needs=("image", "scale"),
        refuses=(
            *("mask", "strength", "width", "height", "num_images", "scheduler", "clip_skip"),
            *("adapters", "embeddings", "vae", "control_image", "control_scale"),
        ),
    ),
}

TASK_TYPES = tuple(TASK_TYPE_RULES)
