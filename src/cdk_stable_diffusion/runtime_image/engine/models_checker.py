"""The safety checker that a model's directory has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy
import torch
from PIL import Image

from .finishing import Check


def take_checker(pipeline: Any) -> Check | None:
    """Take a pipeline's safety checker out of it, so that it blackens no picture on its own.

    Args:
        pipeline: The loaded pipeline.

    Returns:
        What checks pictures; None if the pipeline has no safety checker.
    """
    checker = getattr(pipeline, "safety_checker", None)
    extractor = getattr(pipeline, "feature_extractor", None)
    if checker is None or extractor is None:
        return None
    pipeline.register_modules(safety_checker=None)

    def check(pictures: Sequence[Image.Image]) -> Sequence[bool]:
        pixels = extractor(list(pictures), return_tensors="pt").pixel_values
        with torch.inference_mode():
            # It blackens what it flags, in an array that nobody else has.
            _, flags = checker(
                images=numpy.stack([numpy.asarray(each, "float32") / 255 for each in pictures]),
                clip_input=pixels.to(checker.device, checker.dtype),
            )
        return [bool(flag) for flag in flags]

    return check
