"""The shipped folder: a ``StableDiffusionPipeline`` of half-precision files, and its use."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tools.tiny_model import tokenizer
from tools.tiny_model.denoiser import build_scheduler

SHIPPED: Final = (
    Path(__file__).parents[2] / "src" / "cdk_stable_diffusion" / "local" / "models" / "tiny-shapes"
)
_DEFAULTS_FILE: Final = "generation_defaults.json"


@dataclass(frozen=True)
class Defaults:
    """How the model makes its best pictures.

    Attributes:
        steps: Denoising steps.
        guidance_scale: How strongly the prompt steers.
        width: The picture's width in pixels.
        height: The picture's height in pixels.
    """

    steps: int = 8
    guidance_scale: float = 3.0
    width: int = 64
    height: int = 64


def save(networks: Any, autoencoder: Any, folder: Path) -> None:
    """Writes the trained model as a pipeline folder that anyone may read.

    Args:
        networks: The denoiser and its text encoder, as trained together.
        autoencoder: The autoencoder for the same latents.
        folder: Where to write; other files in it are left alone.
    """
    pipeline = StableDiffusionPipeline(
        vae=autoencoder.to(memory_format=torch.contiguous_format),
        text_encoder=networks["text_encoder"],
        tokenizer=tokenizer.build(),
        unet=networks["unet"],
        scheduler=build_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for network in _networks(pipeline):
        network.half()
    pipeline.save_pretrained(folder, safe_serialization=True)
    tokenizer.save(pipeline.tokenizer, folder / "tokenizer")
    defaults = json.dumps(asdict(Defaults()), indent=2)
    (folder / _DEFAULTS_FILE).write_text(defaults + "\n", encoding="utf-8")
    for path in (folder, *folder.rglob("*")):
        # Weights are written readable by their owner only, which a container's user is not.
        path.chmod(0o755 if path.is_dir() else 0o644)


def _networks(pipeline: Any) -> tuple[Any, ...]:
    return (pipeline.vae, pipeline.text_encoder, pipeline.unet)


def load(folder: Path = SHIPPED) -> Any:
    """Returns the pipeline in a folder, in full precision and without progress bars."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    # Left alone, parts keep the files' half precision, which a CPU is far too slow at.
    for network in _networks(pipeline):
        network.float()
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def load_defaults(folder: Path = SHIPPED) -> Defaults:
    """Returns the generation defaults in a folder."""
    return Defaults(**json.loads((folder / _DEFAULTS_FILE).read_text(encoding="utf-8")))


def generate(
    pipeline: Any, prompts: Sequence[str], seeds: Sequence[int], defaults: Defaults
) -> list[Image.Image]:
    """Makes one picture for each prompt, in one batch.

    Args:
        pipeline: What ``load`` returned.
        prompts: The prompts.
        seeds: The seed of each prompt's picture, which is the same in every batch.
        defaults: How to generate.

    Returns:
        The pictures, in the order of the prompts.
    """
    result = pipeline(
        prompt=list(prompts),
        num_inference_steps=defaults.steps,
        guidance_scale=defaults.guidance_scale,
        width=defaults.width,
        height=defaults.height,
        generator=[torch.Generator().manual_seed(seed) for seed in seeds],
    )
    return list(result.images)
