"""Which pipelines a model may be: a closed list, so that a model's files never choose code."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from ...contract.task_type import IMAGE_TO_IMAGE, INPAINTING
from .failure import EngineFailure

_MODULES = {
    "StableDiffusionPipeline": "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "StableDiffusionXLPipeline": (
        "diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl"
    ),
}

# As they are saved together with a ControlNet, which is loaded when a task asks for it.
_WITH_CONTROL = {
    "StableDiffusionControlNetPipeline": "StableDiffusionPipeline",
    "StableDiffusionXLControlNetPipeline": "StableDiffusionXLPipeline",
}

# The same weights put to other work: what follows the class's module and name.
_SUFFIXES = {IMAGE_TO_IMAGE: ("_img2img", "Img2Img"), INPAINTING: ("_inpaint", "Inpaint")}


def pipeline_class(name: str) -> Any:
    """Return a pipeline's class, importing only its own module.

    Args:
        name: As ``_class_name`` in ``model_index.json`` says.

    Raises:
        EngineFailure: If it is not on the list.
    """
    name = _WITH_CONTROL.get(name, name)
    if name not in _MODULES:
        raise EngineFailure(
            "model-invalid",
            f"pipeline class {str(name)[:64]!r} is not supported; supported: "
            f"{', '.join(sorted(_MODULES))}",
        )
    return getattr(importlib.import_module(_MODULES[name]), name)


def pipeline_for(pipeline: Any, task_type: str) -> Any:
    """Return a pipeline for another task type that shares all its parts with a loaded one.

    Args:
        pipeline: The loaded pipeline, of a class on the list.
        task_type: A task type that begins with a picture.
    """
    name = type(pipeline).__name__
    module_suffix, class_suffix = _SUFFIXES[task_type]
    module = importlib.import_module(_MODULES[name] + module_suffix)
    chosen = getattr(module, name.removesuffix("Pipeline") + class_suffix + "Pipeline")
    taken = inspect.signature(chosen.__init__).parameters
    settings = {key: value for key, value in pipeline.config.items() if key in taken}
    parts = {key: value for key, value in pipeline.components.items() if key in taken}
    return chosen(**{**settings, **parts})
