"""Task ids and seeds: who a task is, and what it draws, decided once."""

from __future__ import annotations

import hashlib
import uuid

from . import strict_json
from .limits import MAX_SEED
from .task import TaskRequest

TASK_ID_PATTERN = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

_NAMESPACE = uuid.UUID("6d0c1c5e-6a5b-5f0e-9d3f-6a0c8f0b7a11")


def new_task_id(request: TaskRequest, caller: str) -> str:
    """Return the id of a task.

    Without an idempotency key every request is a new task. With one, the id is a digest of the
    caller, the key and the whole request: the same request sent again gets the same id, so that
    the agent finds the result of the first. No table is needed for it, and another request under
    the same key is another task rather than a lost one.

    Args:
        request: The checked request.
        caller: Who asks, such as the API key's id, so that two callers' keys never meet.

    Returns:
        A UUID: random (version 4), or a digest (version 5).
    """
    if request.idempotency_key is None:
        return str(uuid.uuid4())
    text = strict_json.dumps([caller, request.to_dict()])
    return str(uuid.uuid5(_NAMESPACE, text))


def derive_seed(task_id: str) -> int:
    """Return the seed of a task whose client gave none.

    It depends on the id alone, so that a task that runs twice draws the same picture twice.

    Args:
        task_id: The task's id.

    Returns:
        0 to 2**32 - 1.
    """
    digest = hashlib.sha256(task_id.encode("utf-8")).digest()
    return int.from_bytes(digest[:4], "big")


def image_seed(seed: int, index: int) -> int:
    """Return the seed of the task's picture at an index, within the seeds' range."""
    return (seed + index) % (MAX_SEED + 1)
