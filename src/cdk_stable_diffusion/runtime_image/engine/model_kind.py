"""What a loaded pipeline can do, and what it is used to: all that differs between their kinds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...contract import limits
from .failure import EngineFailure

_STEPS = 25
_GUIDANCE_SCALE = 7.5


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelKind:
    """A kind of pipeline.

    Attributes:
        own_size: Width and height that the model was made for.
        size_multiple: What a width or height must be a multiple of.
        steps: Denoising steps where nothing says how many.
        guidance_scale: Guidance scale where nothing says which.
        takes_guidance: Whether any but that guidance scale does something.
        takes_negative_prompt: Whether a negative prompt does something.
        sizes_image_to_image: Whether image-to-image is told the size, rather than to take it from
            the picture.
        arguments: What the pipeline is called with besides.
    """

    own_size: tuple[int, int]
    size_multiple: int
    steps: int = _STEPS
    guidance_scale: float = _GUIDANCE_SCALE
    takes_guidance: bool = True
    takes_negative_prompt: bool = True
    sizes_image_to_image: bool = False
    arguments: tuple[tuple[str, Any], ...] = ()

    def guidance(self, wanted: float | None) -> float:
        """Return the guidance scale to draw with.

        Args:
            wanted: The request's or the model's own; None leaves it to the kind.

        Raises:
            EngineFailure: If it would do nothing.
        """
        if wanted is None:
            return self.guidance_scale
        # Up to 1 there is no guidance, however it is spelt.
        if not self.takes_guidance and wanted > 1:
            raise EngineFailure(
                "unsupported-request",
                f"this model draws without guidance: guidance_scale must be 0, is {wanted}",
            )
        return wanted if self.takes_guidance else self.guidance_scale

    def arguments_for(self, words: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the pipeline is called with besides sizes, steps and pictures.

        Args:
            words: Its arguments for prompts.

        Raises:
            EngineFailure: If a negative prompt would do nothing.
        """
        if self.takes_negative_prompt:
            return {**words, **dict(self.arguments)}
        if words["negative_prompt"]:
            raise EngineFailure(
                "unsupported-request", "negative_prompt does nothing with this kind of model"
            )
        kept = {name: value for name, value in words.items() if name != "negative_prompt"}
        return {**kept, **dict(self.arguments)}


def kind_of(pipeline: Any) -> ModelKind:
    """Return the kind of a loaded pipeline.

    Args:
        pipeline: A pipeline of a class on the list in `pipeline_classes`.
    """
    name = type(pipeline).__name__
    factor = pipeline.vae_scale_factor
    if name == "FluxPipeline":
        return _flux(pipeline, factor)
    if name == "StableDiffusion3Pipeline":
        side = pipeline.default_sample_size * factor
        return ModelKind(
            own_size=(side, side),
            size_multiple=factor * pipeline.patch_size,
            steps=28,
            guidance_scale=7.0,
            sizes_image_to_image=True,
        )
    sample_size = pipeline.unet.config.sample_size
    rows, columns = sample_size if isinstance(sample_size, list) else (sample_size, sample_size)
    return ModelKind(
        own_size=(columns * factor, rows * factor),
        size_multiple=max(factor, limits.SIDE_MULTIPLE_PIXELS),
    )


def _flux(pipeline: Any, factor: int) -> ModelKind:
    side = pipeline.default_sample_size * factor
    # Distilled for a few steps, it takes no guidance and fewer words.
    in_few_steps = not pipeline.transformer.config.guidance_embeds
    return ModelKind(
        own_size=(side, side),
        size_multiple=2 * factor,
        steps=4 if in_few_steps else 28,
        guidance_scale=0.0 if in_few_steps else 3.5,
        takes_guidance=not in_few_steps,
        # Guidance is trained into it, and what it was not guided by is not there to be replaced.
        takes_negative_prompt=False,
        sizes_image_to_image=True,
        arguments=(("max_sequence_length", 256 if in_few_steps else 512),),
    )
