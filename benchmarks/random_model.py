"""Makes a model of Stable Diffusion 1.5's shape and size, with random weights."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from cdk_stable_diffusion.runtime_image.engine.tokenizers import CONFIGS, clip_tokenizer

_CONFIGS = CONFIGS / "sd15"
_WEIGHTS = "diffusion_pytorch_model.safetensors"
_TEXT_WEIGHTS = "model.safetensors"


def make_random_model(directory: Path) -> None:
    """Make the model, in 16 bits, as `save_pretrained` would write it.

    Args:
        directory: The folder for it, which is not there yet.
    """
    chance = torch.Generator().manual_seed(1)
    shutil.copytree(_CONFIGS, directory)
    for path, part in _parts().items():
        weights = {
            name: _random(tensor, chance) if tensor.is_floating_point() else _positions(tensor)
            for name, tensor in part.state_dict().items()
        }
        save_file(weights, directory / path, metadata={"format": "pt"})
    clip_tokenizer().save_pretrained(directory / "tokenizer")


def _parts() -> dict[str, Any]:
    with init_empty_weights():
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(_CONFIGS / "unet"))
        vae = AutoencoderKL.from_config(AutoencoderKL.load_config(_CONFIGS / "vae"))
        text = CLIPTextModel(CLIPTextConfig.from_pretrained(_CONFIGS / "text_encoder"))
    return {
        f"unet/{_WEIGHTS}": unet,
        f"vae/{_WEIGHTS}": vae,
        f"text_encoder/{_TEXT_WEIGHTS}": text,
    }


def _random(tensor: Any, chance: Any) -> Any:
    return (torch.rand(tensor.shape, generator=chance) * 0.02).half()


def _positions(tensor: Any) -> Any:
    return torch.arange(tensor.numel()).reshape(tensor.shape)
