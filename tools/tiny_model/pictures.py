"""Drawn scenes as tensors."""

from __future__ import annotations

import random
from typing import Any, Final

import numpy as np
import torch
from tqdm import tqdm

from tools.tiny_model.draw import draw
from tools.tiny_model.grammar import Scene, random_scene

_ENCODING_BATCH: Final = 250


def random_scenes(count: int, seed: int, two_objects_share: float) -> list[Scene]:
    """Returns ``count`` scenes, always the same ones for a seed."""
    source = random.Random(seed)
    return [random_scene(source, two_objects_share) for _ in range(count)]


def draw_all(scenes: list[Scene], seed: int) -> Any:
    """Draws scenes.

    Args:
        scenes: What to draw.
        seed: Decides the jitter.

    Returns:
        A tensor of bytes, scenes x 3 x height x width.
    """
    source = random.Random(seed)
    drawn = [
        np.asarray(draw(scene, source)) for scene in tqdm(scenes, desc="drawing", unit="picture")
    ]
    return torch.from_numpy(np.stack(drawn)).permute(0, 3, 1, 2).contiguous()


def encode_all(code: Any, pictures: Any) -> Any:
    """Returns the latents of pictures by ``code``, computed in batches."""
    batches = tqdm(pictures.split(_ENCODING_BATCH), desc="encoding", unit="batch")
    return torch.cat([code.encode(batch) for batch in batches])


def to_floats(pictures: Any) -> Any:
    """Turns bytes into floats from -1 to 1, as the model's parts see pictures."""
    return pictures.float().div(127.5).sub(1.0)
