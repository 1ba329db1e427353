"""Which pipelines a model may be: a closed list, so that a model's files never choose code."""

from __future__ import annotations

import importlib
from typing import Any

from .failure import EngineFailure

_MODULES = {
    "StableDiffusionPipeline": "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "StableDiffusionXLPipeline": (
        "diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl"
    ),
}


def pipeline_class(name: str) -> Any:
    """Return a pipeline's class, importing only its own module.

    Args:
        name: As ``_class_name`` in ``model_index.json`` says.

    Raises:
        EngineFailure: If it is not on the list.
    """
    if name not in _MODULES:
        raise EngineFailure(
            "model-invalid",
            f"pipeline class {str(name)[:64]!r} is not supported; supported: "
            f"{', '.join(sorted(_MODULES))}",
        )
    return getattr(importlib.import_module(_MODULES[name]), name)
