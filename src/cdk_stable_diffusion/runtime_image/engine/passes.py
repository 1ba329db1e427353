"""Putting several orders into one forward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from .failure import EngineFailure

if TYPE_CHECKING:
    from .diffusion import Order


def check_alike(orders: Sequence[Order]) -> None:
    """Check that orders differ in nothing but what each picture of a pass may have of its own.

    Raises:
        EngineFailure: If they do.
    """
    shared = {repr(replace(order, prompt="", negative_prompt="", seeds=())) for order in orders}
    has_files = any(
        isinstance(getattr(order, field.name), bytes) for order in orders for field in fields(order)
    )
    if len(shared) != 1 or has_files:
        raise EngineFailure("generation-failed", "the tasks of a pass are not alike")


def passes(pipeline: Any, orders: Sequence[Order]) -> list[list[int]]:
    """Divide orders into passes, by their places.

    Some models take the lack of a negative prompt for something else than an empty one. There,
    those with and those without cannot be in one pass.
    """
    if not getattr(pipeline.config, "force_zeros_for_empty_prompt", False):
        return [list(range(len(orders)))]
    with_one, without = (
        [place for place, order in enumerate(orders) if bool(order.negative_prompt) == given]
        for given in (True, False)
    )
    return [each for each in (with_one, without) if each]


def prompt_arguments(orders: Sequence[Order]) -> dict[str, Any]:
    """Return a pipeline's arguments for the words of one pass: those of each picture, in order."""
    if len(orders) == 1:
        order = orders[0]
        return {
            "prompt": order.prompt,
            "negative_prompt": order.negative_prompt or None,
            "num_images_per_prompt": len(order.seeds),
        }
    negative = [order.negative_prompt for order in orders for _ in order.seeds]
    return {
        "prompt": [order.prompt for order in orders for _ in order.seeds],
        "negative_prompt": negative if any(negative) else None,
        "num_images_per_prompt": 1,
    }
