"""Which pipelines a model may be: a closed list, so that a model's files never choose code."""

from __future__ import annotations

import importlib
import inspect
from typing import Any

from ...contract.task_type import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE
from .failure import EngineFailure

_MODULES = {
    "FluxPipeline": "diffusers.pipelines.flux.pipeline_flux",
    "StableDiffusion3Pipeline": (
        "diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3"
    ),
    "StableDiffusionLatentUpscalePipeline": (
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_latent_upscale"
    ),
    "StableDiffusionPipeline": "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion",
    "StableDiffusionUpscalePipeline": (
        "diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_upscale"
    ),
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

_SCALES = {"StableDiffusionLatentUpscalePipeline": 2, "StableDiffusionUpscalePipeline": 4}

# What they were trained in; their values go beyond what 16 bits with a short exponent hold.
_BFLOAT16 = frozenset({"FluxPipeline"})


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


def half_precision(chosen: Any) -> Any:
    """Return the type of 16 bits that a pipeline's class computes in on a GPU."""
    import torch

    return torch.bfloat16 if chosen.__name__ in _BFLOAT16 else torch.float16


def upscaler_scale(pipeline: Any) -> int | None:
    """Return how many times larger an upscaler makes a picture; None for other pipelines."""
    return _SCALES.get(type(pipeline).__name__)


def pipeline_for(pipeline: Any, task_type: str) -> Any:
    """Return a pipeline for another task type that shares all its parts with a loaded one.

    Args:
        pipeline: The loaded pipeline, of a class on the list.
        task_type: A task type that draws.

    Raises:
        EngineFailure: If it cannot be put to that work.
    """
    name = type(pipeline).__name__
    if name in _SCALES:
        raise EngineFailure(
            "unsupported-request", f"the model is an upscaler: it does upscale, not {task_type}"
        )
    if task_type == TEXT_TO_IMAGE:
        return pipeline
    module_suffix, class_suffix = _SUFFIXES[task_type]
    module = importlib.import_module(_MODULES[name] + module_suffix)
    chosen = getattr(module, name.removesuffix("Pipeline") + class_suffix + "Pipeline")
    taken = inspect.signature(chosen.__init__).parameters
    settings = {key: value for key, value in pipeline.config.items() if key in taken}
    parts = {key: value for key, value in pipeline.components.items() if key in taken}
    return chosen(**{**settings, **parts})
