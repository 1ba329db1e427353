"""Where things lie in S3.

Nothing here depends on time or chance: a task that runs twice writes the same keys.
"""

from __future__ import annotations

MODELS_PREFIX = "models/"
MODEL_MANIFEST_NAME = "model.json"
RESULT_NAME = "result.json"
PROGRESS_NAME = "progress.json"
CANCEL_NAME = "cancel.json"

RETURNED_PREFIX = ".returned/"
"""Folder of the output bucket for what agents note about messages that they gave back.

No task's folder can be in it: neither an output prefix nor a task id begins with a dot.
"""


def task_prefix(output_prefix: str, task_id: str) -> str:
    """Return the folder of a task in the output bucket, with a slash at its end."""
    return f"{output_prefix}/{task_id}/" if output_prefix else f"{task_id}/"


def image_key(output_prefix: str, task_id: str, index: int, output_format: str) -> str:
    """Return the key of a task's picture or video, by the second part of its media type."""
    extension = "jpg" if output_format == "jpeg" else output_format
    return f"{task_prefix(output_prefix, task_id)}{index:02d}.{extension}"


def result_key(output_prefix: str, task_id: str) -> str:
    """Return the key of a task's result: the same document as the result message."""
    return task_prefix(output_prefix, task_id) + RESULT_NAME


def progress_key(output_prefix: str, task_id: str) -> str:
    """Return the key under which an agent tells how far a running task is."""
    return task_prefix(output_prefix, task_id) + PROGRESS_NAME


def cancel_key(output_prefix: str, task_id: str) -> str:
    """Return the key whose object asks for a task's cancellation."""
    return task_prefix(output_prefix, task_id) + CANCEL_NAME


def model_prefix(model: str) -> str:
    """Return the folder of a model in the model bucket, with a slash at its end."""
    return f"{MODELS_PREFIX}{model}/"


def model_manifest_key(model: str) -> str:
    """Return the key of a model's manifest in the model bucket."""
    return model_prefix(model) + MODEL_MANIFEST_NAME
