"""ControlNet: a network beside the model's own that follows a picture."""

from __future__ import annotations

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

from ...contract.task_type import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE
from .device_errors import raise_device_errors
from .failure import EngineFailure
from .model_directory import variant_of

CONTROL_DIRECTORY = "controlnet"
"""Where a ControlNet lies in its model's directory."""

_CLASS = "ControlNetModel"
_PACKAGE = "diffusers.pipelines.controlnet"
_PIPELINES = {
    ("StableDiffusionPipeline", TEXT_TO_IMAGE): (
        "pipeline_controlnet",
        "StableDiffusionControlNetPipeline",
    ),
    ("StableDiffusionPipeline", IMAGE_TO_IMAGE): (
        "pipeline_controlnet_img2img",
        "StableDiffusionControlNetImg2ImgPipeline",
    ),
    ("StableDiffusionPipeline", INPAINTING): (
        "pipeline_controlnet_inpaint",
        "StableDiffusionControlNetInpaintPipeline",
    ),
    ("StableDiffusionXLPipeline", TEXT_TO_IMAGE): (
        "pipeline_controlnet_sd_xl",
        "StableDiffusionXLControlNetPipeline",
    ),
    ("StableDiffusionXLPipeline", IMAGE_TO_IMAGE): (
        "pipeline_controlnet_sd_xl_img2img",
        "StableDiffusionXLControlNetImg2ImgPipeline",
    ),
    ("StableDiffusionXLPipeline", INPAINTING): (
        "pipeline_controlnet_inpaint_sd_xl",
        "StableDiffusionXLControlNetInpaintPipeline",
    ),
}


class Control:
    """The ControlNet of one loaded pipeline, read when the first task asks for it."""

    def __init__(self, pipeline: Any, directory: Path) -> None:
        """Begin without reading anything.

        Args:
            pipeline: The loaded pipeline.
            directory: The model's directory.
        """
        self._pipeline = pipeline
        self.directory = directory
        self._network: Any = None
        self._pipelines: dict[str, Any] = {}

    @property
    def modules(self) -> tuple[Any, ...]:
        """The network, if it is read."""
        return () if self._network is None else (self._network,)

    def pipeline_for(self, task_type: str) -> Any:
        """Return a pipeline that follows a picture, and shares all its parts with the loaded one.

        Args:
            task_type: What it is to do.

        Raises:
            EngineFailure: If the model has no ControlNet, or one that does not fit.
        """
        if task_type not in self._pipelines:
            key = (type(self._pipeline).__name__, task_type)
            if key not in _PIPELINES:
                raise EngineFailure(
                    "unsupported-request", "control_image does nothing with this kind of model"
                )
            if self._network is None:
                self._network = self._load()
            made = _make(self._pipeline, *_PIPELINES[key], network=self._network)
            made.set_progress_bar_config(disable=True)
            self._pipelines[task_type] = made
        return self._pipelines[task_type]

    def _load(self) -> Any:
        from diffusers import ControlNetModel

        directory = self.directory / CONTROL_DIRECTORY
        config = directory / "config.json"
        if not config.is_file():
            raise EngineFailure(
                "unsupported-request",
                f"control_image: the model has no ControlNet, no {CONTROL_DIRECTORY}/config.json "
                "in its directory",
            )
        unet = self._pipeline.unet
        try:
            if json.loads(config.read_text("utf-8")).get("_class_name") != _CLASS:
                raise EngineFailure(
                    "model-invalid", f"{CONTROL_DIRECTORY}/config.json is not that of a {_CLASS}"
                )
            network = ControlNetModel.from_pretrained(
                str(directory),
                torch_dtype=unet.dtype,
                use_safetensors=True,
                local_files_only=True,
                variant=variant_of(directory),
            )
            _check(network, unet)
            _check_scale(network, self._pipeline.vae_scale_factor)
            return network.to(unet.device).eval()
        except EngineFailure:
            raise
        except Exception as error:
            raise_device_errors(error)
            raise EngineFailure(
                "model-invalid",
                f"{CONTROL_DIRECTORY}/ cannot be loaded: {type(error).__name__}: {error}",
            ) from error


def _check(network: Any, unet: Any) -> None:
    for setting in ("cross_attention_dim", "block_out_channels", "in_channels"):
        theirs, own = network.config[setting], unet.config[setting]
        if theirs != own and list(_listed(theirs)) != list(_listed(own)):
            raise EngineFailure(
                "model-invalid",
                f"{CONTROL_DIRECTORY}/ was made for another model: its {setting} is {theirs}, the "
                f"model's {own}",
            )


def _check_scale(network: Any, factor: int) -> None:
    """Check that a picture becomes as small as the latent picture that it is added to."""
    theirs = 2 ** (len(network.config.conditioning_embedding_out_channels) - 1)
    if theirs != factor:
        raise EngineFailure(
            "model-invalid",
            f"{CONTROL_DIRECTORY}/ was made for another model: it makes a picture {theirs} times "
            f"smaller, the model {factor} times",
        )


def _listed(value: Any) -> Any:
    return value if isinstance(value, (list, tuple)) else [value]


def _make(pipeline: Any, module: str, name: str, *, network: Any) -> Any:
    chosen = getattr(importlib.import_module(f"{_PACKAGE}.{module}"), name)
    taken = inspect.signature(chosen.__init__).parameters
    settings = {key: value for key, value in pipeline.config.items() if key in taken}
    parts = {key: value for key, value in pipeline.components.items() if key in taken}
    return chosen(**{**settings, **parts, "controlnet": network})
