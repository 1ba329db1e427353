"""What tasks must have in common to share a forward pass."""

from __future__ import annotations

import json

from ...contract import TaskRequest
from ...contract.task_type import TEXT_TO_IMAGE
from .work import Work

_OWN = frozenset(
    {
        "prompt",
        "negative_prompt",
        "seed",
        "num_images",
        "output_format",
        "output_prefix",
        "context",
        "idempotency_key",
    }
)
"""What each task of a pass may have of its own. Whatever is not named here must be equal."""

_OF_TIME_ALONE = frozenset({"steps", "scheduler"})


def pass_key(work: Work) -> str | None:
    """Return what is equal for all tasks that may share a pass.

    Args:
        work: A task that is ready for the GPU.

    Returns:
        The key; None for a task that must be alone: one that begins with a picture, and one that
        failed before, since it may be what takes its neighbours with it.
    """
    request = work.task.request
    if request.task_type != TEXT_TO_IMAGE or work.inputs:
        return None
    if work.tries > 1 or work.message.redriven:
        return None
    return _key(request, _OWN)


def memory_key(request: TaskRequest) -> str:
    """Return what is equal for tasks whose pictures take the same memory each.

    Args:
        request: A request.
    """
    return _key(request, _OWN | _OF_TIME_ALONE)


def _key(request: TaskRequest, without: frozenset[str]) -> str:
    values = request.to_dict()
    return json.dumps({name: values[name] for name in values.keys() - without}, sort_keys=True)
