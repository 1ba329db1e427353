"""Loading a pipeline and drawing with it."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from .failure import BrokenDevice, Cancelled, EngineFailure
from .model_directory import checked_pipeline_class, variant_of
from .schedulers import make_scheduler

OnStep = Callable[[int, int], None]

USUAL_STEPS = 25
USUAL_GUIDANCE_SCALE = 7.5


@dataclass(frozen=True)
class Order:
    """What to draw; see the agent's `Generation`."""

    prompt: str
    negative_prompt: str
    seeds: tuple[int, ...]
    width: int | None
    height: int | None
    steps: int | None
    guidance_scale: float | None
    scheduler: str | None


@dataclass(frozen=True)
class Picture:
    """A picture as raw RGB bytes."""

    width: int
    height: int
    seed: int
    pixels: bytes


class Diffusion:
    """Holds one model and draws with it. For one thread."""

    def __init__(self) -> None:
        """Choose the device: CUDA where there is one."""
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        # Half precision is very slow on a CPU.
        self._dtype = torch.float16 if self.device == "cuda" else torch.float32
        self._pipeline: Any = None
        self._own_scheduler: Any = None

    def load(self, directory: Path) -> None:
        """Load a model in place of the one that is held.

        Args:
            directory: A diffusers pipeline's directory with safetensors weights.

        Raises:
            EngineFailure: If it cannot be loaded.
        """
        self._unload()
        try:
            chosen = checked_pipeline_class(directory)
            pipeline = chosen.from_pretrained(
                str(directory),
                dtype=self._dtype,
                use_safetensors=True,
                local_files_only=True,
                variant=variant_of(directory),
            )
            self._pipeline = pipeline.to(self.device)
        except EngineFailure:
            raise
        except Exception as error:
            self._unload()
            _raise_device_errors(error)
            raise EngineFailure(
                "model-invalid", f"cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        self._pipeline.set_progress_bar_config(disable=True)
        self._own_scheduler = self._pipeline.scheduler

    def draw(
        self, order: Order, on_step: OnStep, cancelled: Callable[[], bool]
    ) -> tuple[list[Picture], dict[str, Any]]:
        """Draw.

        Args:
            order: What to draw.
            on_step: Called with the number of finished steps and of all.
            cancelled: Asked after each step; True stops there.

        Returns:
            The pictures, and the values that were used.

        Raises:
            EngineFailure: If that is impossible.
            Cancelled: If it was cancelled.
        """
        if self._pipeline is None:
            raise EngineFailure("generation-failed", "no model is loaded", transient=True)
        parameters = self._parameters(order)
        try:
            images = self._images(order, parameters, on_step, cancelled)
        except (Cancelled, EngineFailure):
            raise
        except Exception as error:
            _raise_device_errors(error)
            # The libraries refuse with a ValueError what a model cannot do.
            code = "unsupported-request" if isinstance(error, ValueError) else "generation-failed"
            raise EngineFailure(code, f"{type(error).__name__}: {error}") from error
        pictures = [
            Picture(image.shape[1], image.shape[0], seed, image.tobytes())
            for image, seed in zip(images, order.seeds, strict=True)
        ]
        return pictures, parameters

    def _parameters(self, order: Order) -> dict[str, Any]:
        factor = self._pipeline.vae_scale_factor
        sample_size = self._pipeline.unet.config.sample_size
        rows, columns = sample_size if isinstance(sample_size, list) else (sample_size, sample_size)
        parameters = {
            "width": order.width or columns * factor,
            "height": order.height or rows * factor,
            "steps": order.steps or USUAL_STEPS,
            "guidance_scale": (
                USUAL_GUIDANCE_SCALE if order.guidance_scale is None else order.guidance_scale
            ),
            "seed": order.seeds[0],
            "scheduler": order.scheduler,
        }
        for side in ("width", "height"):
            if parameters[side] % max(factor, 8):
                raise EngineFailure(
                    "unsupported-request",
                    f"{side} must be a multiple of {max(factor, 8)}, is {parameters[side]}",
                )
        return parameters

    def _images(
        self,
        order: Order,
        parameters: dict[str, Any],
        on_step: OnStep,
        cancelled: Callable[[], bool],
    ) -> Any:
        pipeline = self._pipeline
        pipeline.scheduler = make_scheduler(self._own_scheduler, order.scheduler)

        def after_step(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if cancelled():
                # Leaving by an exception spares the decoding of a picture that nobody gets.
                raise Cancelled
            on_step(step + 1, pipe.num_timesteps)
            return tensors

        with torch.inference_mode():
            result = pipeline(
                prompt=order.prompt,
                negative_prompt=order.negative_prompt or None,
                width=parameters["width"],
                height=parameters["height"],
                num_inference_steps=parameters["steps"],
                guidance_scale=parameters["guidance_scale"],
                num_images_per_prompt=len(order.seeds),
                # One on the CPU for each picture: a picture depends on its seed alone, neither
                # on its neighbours nor on the device.
                generator=[torch.Generator("cpu").manual_seed(seed) for seed in order.seeds],
                output_type="np",
                callback_on_step_end=after_step,
            )
        images = numpy.asarray(result.images)
        if not numpy.isfinite(images).all():
            raise EngineFailure("generation-failed", "the model gave pixels that are not numbers")
        return (images * 255).round().astype("uint8")

    def _unload(self) -> None:
        self._pipeline = None
        self._own_scheduler = None
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()


def _raise_device_errors(error: Exception) -> None:
    """Raise what the device is to blame for, rather than the request or the model."""
    text = str(error)
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in text:
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise EngineFailure("out-of-memory", text or "out of memory", transient=True) from error
    if "CUDA error" in text or "CUDNN_STATUS" in text or "CUBLAS_STATUS" in text:
        raise BrokenDevice("generation-failed", text, transient=True) from error
