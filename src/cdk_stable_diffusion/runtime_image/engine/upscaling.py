"""Making a picture larger without a model."""

from __future__ import annotations

from PIL import Image

from ...contract import limits
from .failure import EngineFailure


def upscale(picture: Image.Image, scale: int) -> Image.Image:
    """Make a picture several times wider and higher, by Lanczos resampling.

    Args:
        picture: The picture.
        scale: How many times.

    Raises:
        EngineFailure: If that would be too large.
    """
    width, height = picture.width * scale, picture.height * scale
    if width * height > limits.MAX_PIXELS_PER_TASK or max(width, height) > limits.MAX_OUTPUT_SIDE:
        raise EngineFailure(
            "unsupported-request",
            f"scale {scale} of the image makes {width}x{height}; at most "
            f"{limits.MAX_PIXELS_PER_TASK} pixels and {limits.MAX_OUTPUT_SIDE} a side are made",
        )
    return picture.resize((width, height), Image.Resampling.LANCZOS)
