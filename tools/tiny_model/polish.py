"""Stage four: a short lesson on small things, which cover few latents and so are learnt last."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from tools.tiny_model import denoiser
from tools.tiny_model.autoencoder import LatentCode
from tools.tiny_model.grammar import OneObject, Scene, random_scene
from tools.tiny_model.pictures import draw_all, encode_all
from tools.tiny_model.progress import Schedule, kept, seed_everything
from tools.tiny_model.settings import Settings

SEED: Final = 6
_SCENE_SEED: Final = 5
_TWO_OBJECTS_SHARE: Final = 0.3
_SMALL_SHARE: Final = 0.5
_AVERAGE_DECAY: Final = 0.997


def trained(settings: Settings, code: LatentCode, networks: Any, work: Path) -> Any:
    """Trains the denoiser and the text encoder further, or loads or finishes an earlier run.

    Args:
        settings: The size of the run.
        code: The autoencoder of the latents.
        networks: Both networks, as stage two left them.
        work: The folder for checkpoints and results.

    Returns:
        Both networks.
    """
    state = kept(work / "polish.pt", lambda: _train(settings, code, networks, work))
    networks.load_state_dict(state)
    return networks.eval()


def _train(settings: Settings, code: LatentCode, networks: Any, work: Path) -> Any:
    seed_everything(SEED)
    scenes = _scenes(settings.polish_pictures)
    latents = encode_all(code, draw_all(scenes, _SCENE_SEED))
    return denoiser.fit(
        "polish",
        networks.train(),
        denoiser.Lesson(latents, scenes, _AVERAGE_DECAY),
        Schedule(settings.polish_steps, learning_rate=1e-3),
        work / "polish-checkpoint.pt",
    )


def _scenes(count: int) -> list[Scene]:
    source = random.Random(_SCENE_SEED)
    scenes: list[Scene] = []
    for _ in range(count):
        scene = random_scene(source, _TWO_OBJECTS_SHARE)
        if isinstance(scene, OneObject) and source.random() < _SMALL_SHARE:
            scene = replace(scene, size="small")
        scenes.append(scene)
    return scenes
