"""Stage three: an ``AutoencoderKL`` that reads and writes the same latents as stage one's network.

Stable Diffusion's image-to-image and inpainting pipelines insist on this class. Trained alone it
learns slowly, so its encoder imitates stage one's, and its decoder learns to undo that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from tools.tiny_model.autoencoder import LatentCode
from tools.tiny_model.pictures import draw_all, random_scenes, to_floats
from tools.tiny_model.progress import Schedule, kept, seed_everything, train
from tools.tiny_model.settings import Settings

SEED: Final = 3
_BATCH: Final = 12
_LATENT_CHANNELS: Final = 4
# Generated latents are never quite those of a drawing, so the decoder has to bear noise.
_LATENT_NOISE: Final = 0.05
# The logarithm of the variance that the encoder reports: as good as none.
_LOG_VARIANCE: Final = -12.0


def build() -> Any:
    """Returns an untrained autoencoder."""
    network = AutoencoderKL(
        block_out_channels=(16, 32, 32),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=_LATENT_CHANNELS,
        mid_block_add_attention=False,
        # One group only: more of them would hide how bright a colour is.
        norm_num_groups=1,
        sample_size=64,
        # The latents already have a standard deviation of 1.
        scaling_factor=1.0,
    )
    return network.to(memory_format=torch.channels_last)


def trained(settings: Settings, code: LatentCode, work: Path) -> Any:
    """Trains the autoencoder, or loads or finishes an earlier run.

    Args:
        settings: The size of the run.
        code: The autoencoder to imitate.
        work: The folder for checkpoints and results.

    Returns:
        The autoencoder.
    """
    network = build()
    network.load_state_dict(kept(work / "distillation.pt", lambda: _train(settings, code, work)))
    return network.eval()


def _train(settings: Settings, code: LatentCode, work: Path) -> Any:
    seed_everything(SEED)
    network = build()
    scenes = random_scenes(settings.distillation_pictures, SEED, settings.two_objects_share)
    pictures = draw_all(scenes, SEED)

    def step_loss(_step: int) -> Any:
        batch = pictures[torch.randint(0, len(pictures), (_BATCH,))]
        return _loss(network, to_floats(batch), code.encode(batch))

    train(
        "distillation",
        Schedule(settings.distillation_steps, learning_rate=2e-3),
        torch.optim.Adam(network.parameters(), lr=0.0),
        {"network": network},
        step_loss,
        work / "distillation-checkpoint.pt",
        bar_line=1,
    )
    _silence_variance(network)
    return network.state_dict()


def _loss(network: Any, pixels: Any, latents: Any) -> Any:
    pixels = pixels.contiguous(memory_format=torch.channels_last)
    noisy = latents + _LATENT_NOISE * torch.randn_like(latents)
    with torch.autocast("cpu", torch.bfloat16):
        imitated = network.encode(pixels).latent_dist.mean.float()
        rebuilt = network.decode(noisy).sample.float()
    return _distance(imitated, latents) + _distance(rebuilt, pixels)


def _distance(one: Any, other: Any) -> Any:
    return functional.l1_loss(one, other) + functional.mse_loss(one, other)


def _silence_variance(network: Any) -> None:
    """Makes the encoder report no variance, which it was not trained for."""
    network.quant_conv.weight.data[_LATENT_CHANNELS:] = 0.0
    network.quant_conv.bias.data[_LATENT_CHANNELS:] = _LOG_VARIANCE
