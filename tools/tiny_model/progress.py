"""The loop that every training stage runs: seeds, learning rate, progress bar, checkpoints."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

_CHECKPOINT_SECONDS = 60.0


@dataclass(frozen=True)
class Schedule:
    """How long a stage trains, and how fast.

    Attributes:
        steps: Optimiser steps in all.
        learning_rate: The highest rate, reached after a short warm-up.
        final_share: The share of the highest rate that the cosine decay ends on.
    """

    steps: int
    learning_rate: float
    final_share: float = 0.03

    def rate_at(self, step: int) -> float:
        """Returns the learning rate of a step."""
        warm_up = max(1, min(100, self.steps // 20))
        if step < warm_up:
            return self.learning_rate * (step + 1) / warm_up
        progress = (step - warm_up) / max(1, self.steps - warm_up)
        share = self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * progress))
        return self.learning_rate * share


def seed_everything(seed: int) -> None:
    """Makes what follows repeatable."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def kept(path: Path, make: Callable[[], Any]) -> Any:
    """Returns what ``make`` made, on this run or on an earlier one that kept it at ``path``."""
    if not path.exists():
        _write(make(), path)
    return torch.load(path, weights_only=True)


def train(
    name: str,
    schedule: Schedule,
    optimizer: Any,
    state: dict[str, Any],
    step_loss: Callable[[int], Any],
    checkpoint: Path,
    after_step: Callable[[], None] = lambda: None,
    bar_line: int = 0,
) -> None:
    """Runs the steps of one stage, resuming from its checkpoint if there is one.

    Args:
        name: What the progress bar shows.
        schedule: How many steps, and the learning rate of each.
        optimizer: A torch optimiser over the stage's parameters.
        state: Everything with a ``state_dict`` that a resumed run needs, by name.
        step_loss: Computes the loss of the numbered step.
        checkpoint: Where the stage's state is kept while it is unfinished.
        after_step: Called after each optimiser step.
        bar_line: The line of the terminal for the progress bar.
    """
    parts = {**state, "optimizer": optimizer}
    first = _resume(parts, checkpoint)
    saved_at, shown = time.monotonic(), 0.0
    bar = tqdm(
        range(first, schedule.steps),
        initial=first,
        total=schedule.steps,
        desc=name,
        position=bar_line,
        mininterval=1.0,
    )
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = schedule.rate_at(step)
        loss = step_loss(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        after_step()
        shown = loss.item() if step == first else 0.98 * shown + 0.02 * loss.item()
        bar.set_postfix(loss=f"{shown:.4f}", refresh=False)
        if time.monotonic() - saved_at > _CHECKPOINT_SECONDS:
            _save(parts, step + 1, checkpoint)
            saved_at = time.monotonic()
    _save(parts, schedule.steps, checkpoint)


def _save(parts: dict[str, Any], step: int, checkpoint: Path) -> None:
    _write({"step": step, **{name: part.state_dict() for name, part in parts.items()}}, checkpoint)


def _write(value: Any, path: Path) -> None:
    """Writes a file; a reader sees the old one or the new one, never half of one."""
    unfinished = path.with_suffix(".part")
    torch.save(value, unfinished)
    unfinished.replace(path)


def _resume(parts: dict[str, Any], checkpoint: Path) -> int:
    """Loads a checkpoint into ``parts`` and returns the step to go on from."""
    if not checkpoint.exists():
        return 0
    saved = torch.load(checkpoint, weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(saved[name])
    return int(saved["step"])
