"""What is added to the random model: made by hand, random and small."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel
from safetensors.torch import save_file

from cdk_stable_diffusion.runtime_image.engine.asset_files import Asset

RANK = 2
TEXT_WIDTH = 32


def asset(directory: Path, weight: float = 1.0) -> Asset:
    """Return what lies in a directory as the engine is told of it."""
    data = b"".join(path.read_bytes() for path in sorted(directory.iterdir()))
    digest = hashlib.sha256(data).hexdigest()
    return Asset(directory.name, digest, directory, weight)


def write(directory: Path, tensors: dict[str, torch.Tensor]) -> Asset:
    """Write tensors as the one file of a directory."""
    directory.mkdir(parents=True)
    save_file({name: each.contiguous() for name, each in tensors.items()}, directory / _FILE)
    return asset(directory)


_FILE = "weights.safetensors"


def _random(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator)


def lora_of_kohya(
    directory: Path, model: Path, *, seed: int = 0, width: int = TEXT_WIDTH, text: bool = False
) -> Asset:
    """Write a LoRA in kohya's spelling: of all that the UNet attends to, and of the text."""
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    tensors: dict[str, torch.Tensor] = {}
    for name, module in unet.named_modules():
        if name.rpartition(".")[2] in ("to_q", "to_k", "to_v"):
            from_text = "attn2" in name and not name.endswith("to_q")
            inner = width if from_text else module.in_features
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors |= _pair(key, seed + len(tensors), inner, module.out_features)
    if text:
        tensors |= _of_text("lora_te_", seed)
    return write(directory, tensors)


def lora_of_text(directory: Path, prefix: str) -> Asset:
    """Write a LoRA of a text encoder alone, in kohya's spelling."""
    return write(directory, _of_text(prefix, 3))


def lora_elsewhere(directory: Path) -> Asset:
    """Write a LoRA of a layer that the random model does not have."""
    return write(directory, _pair("lora_unet_mid_block_attentions_7_proj_in", 0, 16, 16))


def _of_text(prefix: str, seed: int) -> dict[str, torch.Tensor]:
    tensors: dict[str, torch.Tensor] = {}
    for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
        key = f"{prefix}text_model_encoder_layers_0_self_attn_{name}"
        tensors |= _pair(key, seed + len(tensors), TEXT_WIDTH, TEXT_WIDTH)
    return tensors


def _pair(key: str, seed: int, inner: int, outer: int) -> dict[str, torch.Tensor]:
    return {
        f"{key}.lora_down.weight": _random(seed, RANK, inner),
        # Weak, so that a picture says how much was added rather than that something was.
        f"{key}.lora_up.weight": 0.05 * _random(seed + 1, outer, RANK),
        f"{key}.alpha": torch.tensor(float(RANK)),
    }


def lora_of_diffusers(directory: Path, *, seed: int = 0, width: int = 16) -> Asset:
    """Write a LoRA of one layer in diffusers' spelling."""
    key = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    return write(
        directory,
        {
            f"{key}.lora_A.weight": _random(seed, RANK, width),
            f"{key}.lora_B.weight": 5 * _random(seed + 1, width, RANK),
        },
    )


def embedding(
    directory: Path, *, vectors: int = 1, seed: int = 0, width: int = TEXT_WIDTH
) -> Asset:
    """Write an embedding for one text encoder."""
    return write(directory, {"emb_params": _random(seed, vectors, width)})


def embedding_for_two(directory: Path, *, vectors: int = 1) -> Asset:
    """Write an embedding for two text encoders."""
    tensors = {"clip_l": _random(1, vectors, TEXT_WIDTH), "clip_g": _random(2, vectors, TEXT_WIDTH)}
    return write(directory, tensors)


def vae_of_diffusers(directory: Path, *, seed: int = 7, **settings: Any) -> Asset:
    """Write an autoencoder like the random model's, with other weights."""
    torch.manual_seed(seed)
    levels = settings.pop("levels", 3)
    AutoencoderKL(
        **{
            "block_out_channels": (8,) * levels,
            "down_block_types": ("DownEncoderBlock2D",) * levels,
            "up_block_types": ("UpDecoderBlock2D",) * levels,
            "norm_num_groups": 4,
            "latent_channels": 4,
            **settings,
        }
    ).save_pretrained(directory)
    return asset(directory)


def add_controlnet(model: Path, *, at_random: bool) -> None:
    """Put a ControlNet into a model's directory."""
    unet = UNet2DConditionModel.from_pretrained(model / "unet")
    torch.manual_seed(3)
    network = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8))
    if at_random:
        for block in [*network.controlnet_down_blocks, network.controlnet_mid_block]:
            torch.nn.init.normal_(block.weight, std=0.5)
        torch.nn.init.normal_(network.controlnet_cond_embedding.conv_out.weight)
    network.save_pretrained(model / "controlnet")


def vae_names_of_checkpoint(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the random model's autoencoder as a checkpoint of before diffusers names it."""
    renamed = {}
    for name, tensor in tensors.items():
        for theirs, ours in _LDM_NAMES:
            name = re.sub(theirs, ours, name)
        # Its attention was made of convolutions.
        is_attention = ".attn_1." in name and name.endswith("weight") and tensor.ndim > 1
        renamed[f"first_stage_model.{name}"] = tensor[..., None, None] if is_attention else tensor
    return renamed


# Levels of the decoder are counted from the other end.
_LDM_NAMES: list[tuple[str, Any]] = [
    (r"encoder\.down_blocks\.(\d)\.resnets\.(\d)", r"encoder.down.\1.block.\2"),
    (r"encoder\.down_blocks\.(\d)\.downsamplers\.0", r"encoder.down.\1.downsample"),
    (
        r"decoder\.up_blocks\.(\d)\.resnets\.(\d)",
        lambda m: f"decoder.up.{2 - int(m[1])}.block.{m[2]}",
    ),
    (r"decoder\.up_blocks\.(\d)\.upsamplers\.0", lambda m: f"decoder.up.{2 - int(m[1])}.upsample"),
    (r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
]
