"""Stage two: the denoiser and its text encoder, trained together on latents of drawn scenes."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTextConfig, CLIPTextModel

from tools.tiny_model import tokenizer as words
from tools.tiny_model.grammar import Scene, describe
from tools.tiny_model.progress import Schedule, kept, seed_everything, train
from tools.tiny_model.settings import Settings

SEED: Final = 2
_BATCH: Final = 64
_AVERAGE_DECAY: Final = 0.998
# The empty prompt has to be learnt too: guidance steers away from what it gives.
_EMPTY_PROMPT_SHARE: Final = 0.1
# People often name no background, so some training prompts do not either.
_NO_BACKGROUND_SHARE: Final = 0.05
# Below 1, training sees more of the high noise levels, at which the layout and shapes come about.
_NOISE_LEANING: Final = 0.6
_TEXT_WIDTH: Final = 64


@dataclass(frozen=True)
class Lesson:
    """What the denoiser learns from.

    Attributes:
        latents: The scaled latents of drawn scenes.
        scenes: The scenes, in the same order.
        average_decay: How slowly the average of the weights follows them, from 0 to 1.
    """

    latents: Any
    scenes: list[Scene]
    average_decay: float


def build_scheduler() -> Any:
    """Returns the noise schedule, which ends in pure noise so that any brightness can be made."""
    return DDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        # Trailing steps start at pure noise; the pipelines insist on this offset all the same.
        steps_offset=1,
        timestep_spacing="trailing",
    )


def build_unet() -> Any:
    """Returns an untrained denoiser; it attends to the text at 8x8 and in the middle only."""
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=(40, 64, 64),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=_TEXT_WIDTH,
        # Despite its name this is the number of heads.
        attention_head_dim=4,
        norm_num_groups=8,
    )


def build_text_encoder(tokenizer: Any) -> Any:
    """Returns an untrained text encoder for a tokenizer."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=_TEXT_WIDTH,
        intermediate_size=2 * _TEXT_WIDTH,
        projection_dim=_TEXT_WIDTH,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=words.MAXIMUM_LENGTH,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="eager",
    )
    return CLIPTextModel(config)


def build() -> Any:
    """Returns an untrained denoiser and text encoder, as one module."""
    return torch.nn.ModuleDict(
        {"unet": build_unet(), "text_encoder": build_text_encoder(words.build())}
    )


def trained(settings: Settings, latents: Any, scenes: list[Scene], work: Path) -> Any:
    """Trains the denoiser and the text encoder, or loads or finishes an earlier run.

    Args:
        settings: The size of the run.
        latents: The scaled latents of the drawn scenes.
        scenes: The scenes, in the same order.
        work: The folder for checkpoints and results.

    Returns:
        Both networks, as the module that ``build`` returns.
    """
    networks = build()
    networks.load_state_dict(
        kept(work / "denoiser.pt", lambda: _train(settings, latents, scenes, work))
    )
    return networks.eval()


def _train(settings: Settings, latents: Any, scenes: list[Scene], work: Path) -> Any:
    seed_everything(SEED)
    return fit(
        "denoiser",
        build(),
        Lesson(latents, scenes, _AVERAGE_DECAY),
        Schedule(settings.denoiser_steps, learning_rate=1.5e-3),
        work / "denoiser-checkpoint.pt",
    )


def fit(name: str, networks: Any, lesson: Lesson, schedule: Schedule, checkpoint: Path) -> Any:
    """Trains the denoiser and the text encoder.

    Args:
        name: What the progress bar shows.
        networks: Both networks, as ``build`` returns them.
        lesson: What they learn from.
        schedule: How many steps, and how fast.
        checkpoint: Where the state is kept while it is unfinished.

    Returns:
        The state of the moving average of both networks.
    """
    # The fused attention's backward pass is slow on a CPU; the plain one is not.
    networks["unet"].set_attn_processor(AttnProcessor())
    average = AveragedModel(networks, multi_avg_fn=get_ema_multi_avg_fn(lesson.average_decay))
    prompts = _encode_captions(lesson.scenes)
    empty = words.encode(words.build(), [""])[0]
    clean_shares = build_scheduler().alphas_cumprod

    def step_loss(_step: int) -> Any:
        chosen = torch.randint(0, len(lesson.latents), (_BATCH,))
        tokens = prompts[chosen].long()
        tokens[torch.rand(_BATCH) < _EMPTY_PROMPT_SHARE] = empty
        return _loss(networks, lesson.latents[chosen], tokens, clean_shares)

    train(
        name,
        schedule,
        torch.optim.AdamW(networks.parameters(), lr=0.0, weight_decay=0.01),
        {"networks": networks, "average": average},
        step_loss,
        checkpoint,
        after_step=lambda: average.update_parameters(networks),
    )
    return average.module.state_dict()


def _loss(networks: Any, latents: Any, tokens: Any, clean_shares: Any) -> Any:
    """Returns how far the predicted velocity is from the true one, at random noise levels."""
    timesteps = (len(clean_shares) * torch.rand(len(latents)) ** _NOISE_LEANING).long()
    clean_share = clean_shares[timesteps].view(-1, 1, 1, 1)
    signal, spread = clean_share.sqrt(), (1 - clean_share).sqrt()
    noise = torch.randn_like(latents)
    with torch.autocast("cpu", torch.bfloat16):
        text = networks["text_encoder"](tokens).last_hidden_state
        predicted = networks["unet"](signal * latents + spread * noise, timesteps, text).sample
    return functional.mse_loss(predicted.float(), signal * noise - spread * latents)


def _encode_captions(scenes: list[Scene]) -> Any:
    source = random.Random(SEED)
    captions = [describe(scene) for scene in scenes]
    captions = [
        caption.split(" on ")[0] if source.random() < _NO_BACKGROUND_SHARE else caption
        for caption in captions
    ]
    return words.encode(words.build(), captions).to(torch.int16)
