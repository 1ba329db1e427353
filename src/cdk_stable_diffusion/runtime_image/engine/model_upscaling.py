"""Making a picture larger with an upscaler's model, which draws what is finer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy
import torch
from PIL import Image

from ...contract import limits
from .failure import EngineFailure
from .pipeline_classes import upscaler_scale

# Both kinds of upscaler halve the picture's latents that often, and round other sizes down.
_MULTIPLE = 64

_USUAL: dict[int, tuple[int, float]] = {2: (20, 0.0), 4: (75, 9.0)}
"""Steps and guidance scale where nothing says which, by scale: the pipelines' own."""


def upscale_by_model(
    pipeline: Any,
    picture: Image.Image,
    *,
    prompt: str,
    negative_prompt: str,
    seed: int,
    steps: int | None,
    guidance_scale: float | None,
    scale: int,
    after_step: Callable[[int, int], None],
) -> tuple[Image.Image, dict[str, Any]]:
    """Make a picture larger.

    Args:
        pipeline: An upscaler.
        picture: The picture.
        prompt: What it shows; may be empty.
        negative_prompt: What it does not show; may be empty.
        seed: Seed of what is drawn.
        steps: Denoising steps; None for the usual.
        guidance_scale: Guidance scale; None for the usual.
        scale: How many times wider and higher.
        after_step: Called with the number of finished steps and of all.

    Returns:
        The larger picture, and the values that were used.

    Raises:
        EngineFailure: If the model has another scale, or that would be too large.
    """
    own = upscaler_scale(pipeline)
    if own is None or scale != own:
        raise EngineFailure(
            "unsupported-request", f"the model makes pictures {own} times larger; scale is {scale}"
        )
    padded = _padded(picture)
    if padded.width * padded.height * scale**2 > limits.MAX_MODEL_UPSCALE_PIXELS:
        most = limits.MAX_MODEL_UPSCALE_PIXELS // scale**2
        raise EngineFailure(
            "unsupported-request",
            f"scale {scale} by a model takes an image of at most {most} pixels, its sides rounded "
            f"up to multiples of {_MULTIPLE}: it would be {padded.width}x{padded.height}",
        )
    usual_steps, usual_guidance = _USUAL[scale]
    steps = steps or usual_steps
    guidance_scale = usual_guidance if guidance_scale is None else guidance_scale

    def callback(step: int, *_: Any) -> None:
        after_step(step + 1, steps)

    with torch.inference_mode():
        result = pipeline(
            prompt=prompt,
            negative_prompt=negative_prompt or None,
            image=padded,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            generator=torch.Generator("cpu").manual_seed(seed),
            output_type="np",
            callback=callback,
        )
    pixels = numpy.asarray(result.images)[0]
    if not numpy.isfinite(pixels).all():
        raise EngineFailure("generation-failed", "the model gave pixels that are not numbers")
    width, height = picture.width * scale, picture.height * scale
    larger = Image.fromarray((pixels[:height, :width] * 255).round().astype("uint8"))
    return larger, {"steps": steps, "guidance_scale": guidance_scale}


def _padded(picture: Image.Image) -> Image.Image:
    """Repeat the last column and row up to a size that the model's layers halve evenly."""
    columns, rows = (-side % _MULTIPLE for side in picture.size)
    if not columns and not rows:
        return picture
    pixels = numpy.asarray(picture)
    return Image.fromarray(numpy.pad(pixels, ((0, rows), (0, columns), (0, 0)), mode="edge"))
