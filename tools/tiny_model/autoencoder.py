"""Stage one: an autoencoder that packs 64x64 pictures into 16x16x4 latents.

It has no normalisation layers, so it learns absolute colours fast, and it can be trained on small
crops although it will see whole pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from diffusers import AutoencoderTiny
from torch.nn import functional

from tools.tiny_model.pictures import draw_all, random_scenes, to_floats
from tools.tiny_model.progress import Schedule, kept, seed_everything, train
from tools.tiny_model.settings import Settings

SEED: Final = 1
_CROP: Final = 32
_CROP_BATCH: Final = 32
_WHOLE_BATCH: Final = 10
# Noise on the latents keeps neighbouring latents looking alike, which diffusion needs.
_LATENT_NOISE: Final = 0.05
_SCALE_PICTURES: Final = 1000


@dataclass
class LatentCode:
    """The trained autoencoder, with its latents scaled to mean 0 and deviation 1 per channel.

    Attributes:
        network: Encodes and decodes.
        mean: The mean of each raw latent channel, 1 x 4 x 1 x 1.
        deviation: Their standard deviations, of the same shape.
    """

    network: Any
    mean: Any
    deviation: Any

    def encode(self, pictures: Any) -> Any:
        """Returns the scaled latents of pictures, given as bytes."""
        pixels = to_floats(pictures).contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            raw = self.network.encode(pixels).latents
        return (raw - self.mean) / self.deviation


def build() -> Any:
    """Returns an untrained autoencoder."""
    network = AutoencoderTiny(
        encoder_block_out_channels=(32, 32, 32),
        decoder_block_out_channels=(32, 32, 32),
        num_encoder_blocks=(1, 2, 2),
        num_decoder_blocks=(2, 2, 1),
        upsampling_scaling_factor=2,
    )
    return network.to(memory_format=torch.channels_last)


def trained(settings: Settings, work: Path) -> LatentCode:
    """Trains the autoencoder, or loads or finishes an earlier run.

    Args:
        settings: The size of the run.
        work: The folder for checkpoints and results.

    Returns:
        The autoencoder with its latents' scale.
    """
    result = kept(work / "autoencoder.pt", lambda: _train(settings, work))
    network = build()
    network.load_state_dict(result["network"])
    return LatentCode(network.eval(), result["mean"], result["deviation"])


def _train(settings: Settings, work: Path) -> dict[str, Any]:
    seed_everything(SEED)
    network = build()
    scenes = random_scenes(settings.autoencoder_pictures, SEED, two_objects_share=0.35)
    pictures = draw_all(scenes, SEED)
    steps = settings.autoencoder_steps

    def step_loss(step: int) -> Any:
        # The last quarter of the steps sees whole pictures.
        batch = _whole_batch(pictures) if step >= steps * 3 // 4 else _crop_batch(pictures)
        pixels = to_floats(batch).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            latents = network.encode(pixels).latents
            noisy = latents + _LATENT_NOISE * torch.randn_like(latents)
            rebuilt = network.decode(noisy).sample.float()
        return functional.l1_loss(rebuilt, pixels) + functional.mse_loss(rebuilt, pixels)

    train(
        "autoencoder",
        Schedule(steps, learning_rate=3e-3),
        torch.optim.Adam(network.parameters(), lr=0.0),
        {"network": network},
        step_loss,
        work / "autoencoder-checkpoint.pt",
    )
    return {"network": network.state_dict(), **_scale(network, pictures[:_SCALE_PICTURES])}


def _scale(network: Any, pictures: Any) -> dict[str, Any]:
    """Returns the mean and the standard deviation of each latent channel."""
    with torch.no_grad():
        latents = network.encode(to_floats(pictures)).latents
    dimensions = (0, 2, 3)
    return {
        "mean": latents.mean(dimensions, keepdim=True),
        "deviation": latents.std(dimensions, keepdim=True),
    }


def _whole_batch(pictures: Any) -> Any:
    return pictures[torch.randint(0, len(pictures), (_WHOLE_BATCH,))]


def _crop_batch(pictures: Any) -> Any:
    rows = torch.randint(0, pictures.shape[2] - _CROP + 1, (_CROP_BATCH,)).tolist()
    columns = torch.randint(0, pictures.shape[3] - _CROP + 1, (_CROP_BATCH,)).tolist()
    chosen = torch.randint(0, len(pictures), (_CROP_BATCH,)).tolist()
    return torch.stack(
        [
            pictures[index, :, row : row + _CROP, column : column + _CROP]
            for index, row, column in zip(chosen, rows, columns, strict=True)
        ]
    )
