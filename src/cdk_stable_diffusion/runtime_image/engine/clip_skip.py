"""Reading an earlier layer of the text encoder than the model's own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .failure import EngineFailure

# Counted from the end: the last, or the one before it.
_OWN = {
    "StableDiffusionPipeline": 1,
    "StableDiffusionXLPipeline": 2,
    "StableDiffusion3Pipeline": 2,
}


def skipped_layers(pipeline: Any, clip_skip: int | None) -> int | None:
    """Return diffusers' ``clip_skip``: how many layers before the model's own to read.

    Args:
        pipeline: The loaded pipeline.
        clip_skip: The request's: which layer, counted from the end.

    Raises:
        EngineFailure: If the model has no such layer, or was not made to read it.
    """
    if clip_skip is None:
        return None
    own = _OWN.get(type(pipeline).__name__)
    if own is None:
        raise EngineFailure(
            "unsupported-request",
            "clip_skip is not for this model: it reads the CLIP text encoder's summary alone",
        )
    encoders = [pipeline.text_encoder, getattr(pipeline, "text_encoder_2", None)]
    layers = min(each.config.num_hidden_layers for each in encoders if each is not None)
    if not own <= clip_skip <= layers:
        raise EngineFailure(
            "unsupported-request",
            f"clip_skip must be {own} to {layers} for this model, is {clip_skip}",
        )
    return None if clip_skip == own else clip_skip - own


@contextmanager
def norm_found(pipeline: Any, skipped: int | None) -> Iterator[None]:
    """Let diffusers find what it puts on an earlier layer, while something is drawn.

    transformers 5.6 did away with the wrapper through which diffusers 0.42 reaches it. Afterwards
    the name is gone again: adapters that are loaded would be taken for those of before.

    Args:
        pipeline: The loaded pipeline.
        skipped: How many layers are skipped; None needs nothing of the kind.
    """
    encoder = getattr(pipeline, "text_encoder", None)
    if skipped is None or encoder is None or hasattr(encoder, "text_model"):
        yield
        return
    # Past torch's own bookkeeping, for which a module cannot hold itself.
    encoder.__dict__["text_model"] = encoder
    try:
        yield
    finally:
        del encoder.__dict__["text_model"]
