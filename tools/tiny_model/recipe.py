"""The whole training run, from nothing to the networks that are shipped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any, Final

import torch
from torch import multiprocessing
from tqdm import tqdm

from tools.tiny_model import autoencoder, denoiser, distillation, polish
from tools.tiny_model.pictures import draw_all, encode_all, random_scenes
from tools.tiny_model.progress import kept
from tools.tiny_model.settings import Settings

_SCENE_SEED: Final = 4


def run(settings: Settings, work: Path) -> tuple[Any, Any]:
    """Trains everything; stages whose result is already in ``work`` are not repeated.

    Args:
        settings: The size of the run.
        work: The folder for checkpoints and results.

    Returns:
        The denoiser with its text encoder, and the autoencoder to ship.

    Raises:
        ValueError: ``work`` belongs to a run with other settings.
        RuntimeError: A stage failed.
    """
    _claim(work, settings)
    with _timed("autoencoder"):
        autoencoder.trained(settings, work)
    with _timed("latents"):
        _latents(settings, work)
    # On two cores, two stages of one thread each are faster than one after another on both.
    _in_parallel((_train_denoiser, _train_distillation), settings, work)
    with _timed("polish"):
        networks = polish.trained(
            settings, autoencoder.trained(settings, work), _train_denoiser(settings, work), work
        )
    return networks, _train_distillation(settings, work)


def _claim(work: Path, settings: Settings) -> None:
    """Marks a work folder with its settings, for results of different ones must not mix."""
    work.mkdir(parents=True, exist_ok=True)
    mark, text = work / "settings.json", dumps(asdict(settings), indent=2) + "\n"
    if mark.exists() and mark.read_text() != text:
        raise ValueError(f"{work} holds a run with other settings: delete it, or choose another")
    mark.write_text(text)


def _latents(settings: Settings, work: Path) -> Any:
    """Returns the latents of the denoiser's pictures."""

    def compute() -> Any:
        code = autoencoder.trained(settings, work)
        pictures = draw_all(_scenes(settings), _SCENE_SEED)
        return encode_all(code, pictures)

    return kept(work / "latents.pt", compute)


def _scenes(settings: Settings) -> Any:
    return random_scenes(settings.denoiser_pictures, _SCENE_SEED, settings.two_objects_share)


def _train_denoiser(settings: Settings, work: Path) -> Any:
    return denoiser.trained(settings, _latents(settings, work), _scenes(settings), work)


def _train_distillation(settings: Settings, work: Path) -> Any:
    return distillation.trained(settings, autoencoder.trained(settings, work), work)


def _in_parallel(stages: tuple[Any, ...], settings: Settings, work: Path) -> None:
    threads = max(1, (os.cpu_count() or 1) // len(stages))
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_run_stage, args=(stage, settings, work, threads))
        for stage in stages
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode != 0 for process in processes):
        raise RuntimeError("a training stage failed; run the command again to resume it")


def _run_stage(stage: Any, settings: Settings, work: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    with _timed(stage.__name__.removeprefix("_train_")):
        stage(settings, work)


@contextmanager
def _timed(name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    tqdm.write(f"{name}: {(time.monotonic() - started) / 60:.1f} minutes")
