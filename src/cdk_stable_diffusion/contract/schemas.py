"""The JSON Schemas of the contract, made from its fields.

``python -m cdk_stable_diffusion.contract.schemas`` writes them to ``contract/schema/``; a test
keeps the files equal to the code.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .accepted import ACCEPTED_FIELDS
from .fields import object_schema
from .message import MESSAGE_FIELDS
from .model import MANIFEST_FIELDS
from .problem import PROBLEM_FIELDS
from .progress import PROGRESS_FIELDS
from .result import RESULT_FIELDS
from .task import TASK_FIELDS, request_schema
from .version import CONTRACT_VERSION
from .workflow import WORKFLOW_INPUTS_FIELDS

SCHEMA_DIRECTORY = Path(__file__).parent / "schema"
DRAFT = "http://json-schema.org/draft-04/schema#"
"""The latest draft that Amazon API Gateway's request models read."""

DOCUMENTS = {
    "task-request": ("Body of POST /v1/tasks", TASK_FIELDS),
    "task-accepted": ("Answer 202 of POST /v1/tasks", ACCEPTED_FIELDS),
    "task-progress": (
        "Answer 200 of GET /v1/tasks/{task_id} until the task has ended; then a result message",
        PROGRESS_FIELDS,
    ),
    "problem": ("Every other answer (RFC 9457)", PROBLEM_FIELDS),
    "task-message": ("Message on the request topic", MESSAGE_FIELDS),
    "result-message": ("Message on the result topic", RESULT_FIELDS),
    "model-manifest": ("model.json of a model in the model bucket", MANIFEST_FIELDS),
    "workflow-inputs": ("workflow_inputs.json of a ComfyUI workflow", WORKFLOW_INPUTS_FIELDS),
}


def schema(name: str) -> dict[str, Any]:
    """Return the schema of a document.

    Args:
        name: One of `DOCUMENTS`.
    """
    title, fields = DOCUMENTS[name]
    # A task's kind decides which of its fields must be there, which no single field can say.
    described = request_schema() if name == "task-request" else object_schema(fields)
    return {
        "$schema": DRAFT,
        "title": title,
        "description": f"Version {CONTRACT_VERSION} of the contract.",
        **described,
    }


def schema_text(name: str) -> str:
    """Return the schema of a document as it stands in its file."""
    return json.dumps(schema(name), indent=2, ensure_ascii=False) + "\n"


def write_schemas() -> None:
    """Write every schema to its file."""
    SCHEMA_DIRECTORY.mkdir(exist_ok=True)
    for name in DOCUMENTS:
        (SCHEMA_DIRECTORY / f"{name}.json").write_text(schema_text(name), "utf-8")


if __name__ == "__main__":
    write_schemas()
