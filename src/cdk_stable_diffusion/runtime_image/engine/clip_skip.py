"""Reading an earlier layer of the text encoder than the model's own."""

from __future__ import annotations

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
    if clip_skip == own:
        return None
    _let_diffusers_find_the_norm(pipeline.text_encoder)
    return clip_skip - own


def _let_diffusers_find_the_norm(encoder: Any) -> None:
    # transformers 5.6 did away with the wrapper through which diffusers 0.42 reaches it. Past
    # torch's own bookkeeping, for which a module cannot hold itself.
    if not hasattr(encoder, "text_model"):
        encoder.__dict__["text_model"] = encoder
