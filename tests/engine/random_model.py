"""A whole pipeline with random weights: small, untrained, good for all but its looks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionLatentUpscalePipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

_WIDTH = 32
_POSITIONS = 77


def make_random_model(directory: Path) -> None:
    """Write a pipeline as `save_pretrained` does, with generation defaults.

    Args:
        directory: Where to.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    pipeline = StableDiffusionPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_text_config(tokenizer, layers=2)),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(**_UNET, cross_attention_dim=_WIDTH),
        scheduler=DDIMScheduler(
            beta_schedule="scaled_linear",
            beta_start=0.00085,
            beta_end=0.012,
            clip_sample=False,
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
            steps_offset=1,
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(directory)
    defaults = {"steps": 4, "guidance_scale": 3.0}
    (directory / "generation_defaults.json").write_text(json.dumps(defaults))


def make_random_xl_model(directory: Path) -> None:
    """Write a pipeline of the XL kind: two text encoders, conditioned on sizes.

    Args:
        directory: Where to.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    pipeline = StableDiffusionXLPipeline(
        vae=_autoencoder(),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer)),
        tokenizer=tokenizer,
        tokenizer_2=tokenizer,
        unet=UNet2DConditionModel(
            **_UNET,
            cross_attention_dim=2 * _WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + _WIDTH,
        ),
        scheduler=EulerDiscreteScheduler(steps_offset=1),
        add_watermarker=False,
    )
    pipeline.save_pretrained(directory)


def make_random_sd3_model(directory: Path) -> None:
    """Write a pipeline of the SD 3 kind: flow matching, three text encoders.

    Args:
        directory: Where to.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=16,
            patch_size=2,
            in_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=2 * _WIDTH,
            caption_projection_dim=32,
            pooled_projection_dim=2 * _WIDTH,
            out_channels=16,
            pos_embed_max_size=32,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_autoencoder(latent_channels=16, shift_factor=0.1),
        text_encoder=CLIPTextModelWithProjection(_text_config(tokenizer, layers=3)),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(_text_config(tokenizer, layers=3)),
        tokenizer_2=tokenizer,
        text_encoder_3=_t5(2 * _WIDTH),
        tokenizer_3=T5Tokenizer(),
    )
    pipeline.save_pretrained(directory)


def make_random_flux_model(directory: Path, *, in_few_steps: bool = False) -> None:
    """Write a pipeline of the FLUX kind.

    Args:
        directory: Where to.
        in_few_steps: Whether it is distilled for a few steps without guidance. Default: no.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    pipeline = FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=_WIDTH,
            pooled_projection_dim=_WIDTH,
            axes_dims_rope=(4, 4, 8),
            guidance_embeds=not in_few_steps,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(
            shift=1.0 if in_few_steps else 3.0, use_dynamic_shifting=not in_few_steps
        ),
        vae=_autoencoder(shift_factor=0.1),
        text_encoder=CLIPTextModel(_text_config(tokenizer)),
        tokenizer=tokenizer,
        text_encoder_2=_t5(_WIDTH),
        tokenizer_2=T5Tokenizer(),
    )
    pipeline.save_pretrained(directory)


def make_random_upscaler(directory: Path, scale: int) -> None:
    """Write a pipeline that makes pictures larger.

    Args:
        directory: Where to.
        scale: How many times: 2 or 4.
    """
    torch.manual_seed(0)
    tokenizer = _tokenizer()
    parts: dict[str, Any] = {
        "vae": _autoencoder(),
        "text_encoder": CLIPTextModel(_text_config(tokenizer)),
        "tokenizer": tokenizer,
    }
    pipeline: Any
    if scale == 4:
        pipeline = StableDiffusionUpscalePipeline(
            **parts,
            unet=UNet2DConditionModel(
                **{**_UNET, "in_channels": 7},
                out_channels=4,
                cross_attention_dim=_WIDTH,
                num_class_embeds=1000,
            ),
            low_res_scheduler=DDPMScheduler(beta_schedule="scaled_linear"),
            scheduler=DDIMScheduler(prediction_type="v_prediction", clip_sample=False),
        )
    else:
        pipeline = StableDiffusionLatentUpscalePipeline(
            **{**parts, "vae": _autoencoder(block_out_channels=(8,) * 4)},
            unet=UNet2DConditionModel(
                **{**_UNET, "in_channels": 8},
                out_channels=5,
                cross_attention_dim=_WIDTH,
                time_cond_proj_dim=128 + _WIDTH,
            ),
            scheduler=EulerDiscreteScheduler(prediction_type="sample"),
        )
    pipeline.save_pretrained(directory)


_UNET: dict[str, Any] = {
    "sample_size": 16,
    "block_out_channels": (8, 16),
    "layers_per_block": 1,
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}


def _autoencoder(
    *,
    block_out_channels: tuple[int, ...] = (8, 8, 8),
    latent_channels: int = 4,
    shift_factor: float | None = None,
) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=block_out_channels,
        down_block_types=("DownEncoderBlock2D",) * len(block_out_channels),
        up_block_types=("UpDecoderBlock2D",) * len(block_out_channels),
        norm_num_groups=4,
        latent_channels=latent_channels,
        sample_size=64,
        shift_factor=shift_factor,
    )


def _t5(width: int) -> T5EncoderModel:
    return T5EncoderModel(
        T5Config(
            vocab_size=len(T5Tokenizer()),
            d_model=width,
            d_kv=8,
            d_ff=width,
            num_layers=1,
            num_heads=2,
        )
    )


def _text_config(tokenizer: Any, *, layers: int = 1) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_WIDTH,
        intermediate_size=_WIDTH,
        projection_dim=_WIDTH,
        num_hidden_layers=layers,
        num_attention_heads=2,
        max_position_embeddings=_POSITIONS,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _tokenizer() -> Any:
    """Return a tokenizer of single letters."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=_POSITIONS)
