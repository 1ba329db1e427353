"""Loading a pipeline and drawing with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image

from ...contract import limits
from ...contract.task_type import IMAGE_TO_IMAGE, INPAINTING, TEXT_TO_IMAGE, UPSCALE
from .asset_files import Asset
from .clip_skip import norm_found, skipped_layers
from .device_errors import is_out_of_memory, raise_device_errors
from .failure import Cancelled, EngineFailure
from .finishing import Finishing
from .input_pictures import decode_mask, decode_picture, fitted
from .loaded_model import LoadedModel
from .loading import load_pipeline
from .memory import CudaDevice, PassMemory
from .model_directory import weights_size
from .model_upscaling import upscale_by_model
from .passes import check_alike, passes, prompt_arguments
from .pipeline_classes import upscaler_scale
from .placement import Placement
from .schedulers import make_scheduler
from .shelf import Shelf
from .upscaling import upscale
from .warmer import CAN_READ_AHEAD, Wanted, Warmer

OnStep = Callable[[int, int], None]
Drawn = tuple[list["Picture"], dict[str, Any]]
"""The pictures of an order, and the values that were used."""

_Images = tuple[list[Image.Image], list[dict[str, Any]]]
"""The pictures of all orders of a pass, and the values that were used for each order."""

_LOG = logging.getLogger(__name__)

USUAL_CONTROL_SCALE = 1.0
USUAL_STRENGTHS = {IMAGE_TO_IMAGE: 0.8, INPAINTING: 1.0}


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
    task_type: str = TEXT_TO_IMAGE
    image: bytes | None = None
    mask: bytes | None = None
    strength: float | None = None
    scale: int | None = None
    max_input_pixels: int = limits.MAX_INPUT_PIXELS
    adapters: tuple[Asset, ...] = ()
    embeddings: tuple[Asset, ...] = ()
    vae: Asset | None = None
    control_image: bytes | None = None
    control_scale: float | None = None
    clip_skip: int | None = None


@dataclass(frozen=True)
class _Inputs:
    """The decoded pictures that a drawing begins with or follows."""

    image: Any = None
    mask: Any = None
    control: Any = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the picture that decides, where the request does not."""
        size: tuple[int, int] = (self.control if self.image is None else self.image).size
        return size


@dataclass(frozen=True)
class Picture:
    """A picture as raw RGB bytes."""

    width: int
    height: int
    seed: int
    pixels: bytes


class Diffusion:
    """Holds one model and draws with it. For one thread."""

    def __init__(
        self,
        finishing: Finishing | None = None,
        *,
        memory_cache_bytes: int = 0,
        told: Callable[[Mapping[str, str]], None] | None = None,
    ) -> None:
        """Choose the device: CUDA where there is one.

        Args:
            finishing: What is done to each picture that was drawn. Default: nothing.
            memory_cache_bytes: Most bytes of models to keep in the host's memory besides those on
                the device. Default: none.
            told: Called with where models are held, by digest, whenever that changes. Default:
                nobody is told.
        """
        self._finishing = Finishing() if finishing is None else finishing
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        device = CudaDevice() if self.device == "cuda" else None
        shelf = Shelf[LoadedModel](memory_cache_bytes)
        self._placement = Placement(device, shelf, told=told)
        self._shelf = shelf
        self._warmer = Warmer(
            in_half=self._in_half,
            with_checker=self._finishing.needs_models_checker,
            has_room=self._has_room,
            put=self._put,
        )
        self._memory = PassMemory(device)
        self._loaded: tuple[str, LoadedModel] | None = None
        # The last that was asked for, whether or not it could be loaded.
        self._loading: str | None = None
        self.most_pictures: int | None = None
        """How many pictures like the last ones a pass has memory for; None for any number."""

    def load(self, directory: Path, digest: str | None = None) -> str:
        """Make a model the one to draw with. Others stay as far as there is memory.

        Args:
            directory: A diffusers directory, or one with a single-file checkpoint.
            digest: Identity of its weights. Default: the directory's name.

        Returns:
            Where it was: `contract.tiers.GPU`, `MEMORY` or `DISK`.

        Raises:
            EngineFailure: If it cannot be loaded. Then there is none to draw with.
        """
        self._loaded = None
        digest = str(directory) if digest is None else digest
        self._loading = digest
        self._warmer.leave(digest)
        size = 0 if self._placement.has(digest) else self._size_of(directory)
        model, tier = self._placement.bring(digest, partial(self._read, directory), size=size)
        model.found_in(directory)
        self._loaded = (digest, model)
        return tier

    def warm(self, directory: Path, digest: str) -> None:
        """Have a model read into the host's memory beside what is drawn, if there is room.

        Returns at once; from any thread.

        Args:
            directory: Its directory.
            digest: Identity of its weights.
        """
        if self._shelf.most_bytes and CAN_READ_AHEAD:
            self._warmer.warm(Wanted(directory, digest))

    @property
    def _in_half(self) -> bool:
        # Half precision is very slow on a CPU.
        return self.device == "cuda"

    def _size_of(self, directory: Path) -> int:
        return weights_size(
            directory,
            bytes_each=2 if self._in_half else 4,
            with_checker=self._finishing.needs_models_checker,
        )

    def _has_room(self, wanted: Wanted) -> bool:
        if wanted.digest == self._loading or self._placement.has(wanted.digest):
            return False
        return self._placement.make_room(self._size_of(wanted.directory))

    def _put(self, wanted: Wanted, pipeline: Any, seconds: float) -> None:
        model = self._made(pipeline, wanted.directory)
        self._placement.put(wanted.digest, model, seconds=seconds)

    def _made(self, pipeline: Any, directory: Path) -> LoadedModel:
        with_checker = self._finishing.needs_models_checker
        return LoadedModel(pipeline, directory, device=self.device, with_checker=with_checker)

    def _read(self, directory: Path) -> LoadedModel:
        """Read a model into the host's memory."""
        try:
            pipeline = load_pipeline(
                directory,
                in_half=self._in_half,
                with_checker=self._finishing.needs_models_checker,
            )
            return self._made(pipeline, directory)
        except EngineFailure:
            raise
        except Exception as error:
            raise_device_errors(error)
            raise EngineFailure(
                "model-invalid", f"cannot be loaded: {type(error).__name__}: {error}"
            ) from error

    def draw(self, order: Order, on_step: OnStep, cancelled: Callable[[], bool]) -> Drawn:
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
        self.most_pictures = None
        if order.task_type == UPSCALE:
            return self._finished([order], lambda: self._upscaled(order, on_step, cancelled))[0]
        return self._draw([order], on_step, cancelled)[0]

    def draw_together(
        self, orders: Sequence[Order], on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Drawn]:
        """Draw several orders in as few passes as the model allows.

        Args:
            orders: What to draw, from text; alike but for prompts and seeds.
            on_step: Called with the number of finished steps and of all.
            cancelled: Asked after each step; True stops there.

        Returns:
            The pictures of each order, and the values that were used.

        Raises:
            EngineFailure: If that is impossible.
            Cancelled: If it was cancelled.
        """
        check_alike(orders)
        drawn: dict[int, Drawn] = {}
        places = passes(self._model().pipeline, orders)
        for number, each in enumerate(places):

            def after_step(step: int, steps: int, number: int = number) -> None:
                on_step(number * steps + step, len(places) * steps)

            some = [orders[place] for place in each]
            drawn.update(zip(each, self._draw(some, after_step, cancelled), strict=True))
        return [drawn[place] for place in range(len(orders))]

    def _current(self) -> tuple[str, LoadedModel]:
        """Return the model to draw with, and its digest."""
        if self._loaded is None:
            raise EngineFailure("generation-failed", "no model is loaded", transient=True)
        return self._loaded

    def _model(self) -> LoadedModel:
        return self._current()[1]

    def _draw(
        self, orders: Sequence[Order], on_step: OnStep, cancelled: Callable[[], bool]
    ) -> list[Drawn]:
        """Draw in one pass. Only a single order may begin with a picture."""
        return self._finished(orders, lambda: self._in_one_pass(orders, on_step, cancelled))

    def _in_one_pass(
        self, orders: Sequence[Order], on_step: OnStep, cancelled: Callable[[], bool]
    ) -> _Images:
        order, model = orders[0], self._model()
        if order.control_image is None:
            # Before anything is decoded: whether the model is for this at all.
            model.pipeline_for(order.task_type)
        inputs = _decoded(order)
        parameters = [self._parameters(each, inputs) for each in orders]
        images = self._images(orders, inputs, parameters[0], on_step, cancelled)
        self.most_pictures = self._memory.most_pictures(len(images))
        return [Image.fromarray(image) for image in images], parameters

    def _finished(
        self,
        orders: Sequence[Order],
        draw: Callable[[], _Images],
    ) -> list[Drawn]:
        """Draw, check and mark what was drawn, and divide it among the orders."""
        model = self._model()
        try:
            images, parameters = self._with_room(draw)
            images = self._finishing.finish(images, model.checker)
        except (Cancelled, EngineFailure):
            raise
        except Exception as error:
            raise_device_errors(error)
            # The libraries refuse with a ValueError what a model cannot do.
            code = "unsupported-request" if isinstance(error, ValueError) else "generation-failed"
            raise EngineFailure(code, f"{type(error).__name__}: {error}") from error
        seeds = [seed for order in orders for seed in order.seeds]
        pictures = [
            Picture(image.width, image.height, seed, image.tobytes())
            for image, seed in zip(images, seeds, strict=True)
        ]
        left = iter(pictures)
        return [
            (list(islice(left, len(order.seeds))), {**values, **self._finishing.said()})
            for order, values in zip(orders, parameters, strict=True)
        ]

    def _with_room(self, draw: Callable[[], _Images]) -> _Images:
        """Draw; where other models have the memory that it takes, without them."""
        digest, _ = self._current()
        try:
            return self._measured(draw)
        except Exception as error:
            if not (is_out_of_memory(error) and self._placement.spare(digest)):
                raise
            _LOG.warning("no memory to draw beside other models: %s", error)
        # After the error is forgotten, which holds on to what was made so far.
        self._placement.leave_alone(digest)
        return self._measured(draw)

    def _measured(self, draw: Callable[[], _Images]) -> _Images:
        digest, _ = self._current()
        self._memory.begin(self._placement.spare(digest))
        drawn = draw()
        self._placement.drew(self._memory.taken())
        return drawn

    def _parameters(self, order: Order, inputs: _Inputs | None) -> dict[str, Any]:
        kind = self._model().kind
        factor = kind.size_multiple
        columns, rows = kind.own_size if inputs is None else inputs.size
        if inputs is not None:
            columns, rows = columns // factor * factor, rows // factor * factor
        parameters: dict[str, Any] = {
            "width": order.width or columns,
            "height": order.height or rows,
            "steps": order.steps or kind.steps,
            "guidance_scale": kind.guidance(order.guidance_scale),
            "seed": order.seeds[0],
            "scheduler": order.scheduler,
        }
        if order.clip_skip is not None:
            parameters["clip_skip"] = order.clip_skip
        for side in ("width", "height"):
            if parameters[side] % factor:
                raise EngineFailure(
                    "unsupported-request",
                    f"{side} must be a multiple of {factor}, is {parameters[side]}",
                )
        if inputs is not None:
            _check_size(parameters["width"], parameters["height"], len(order.seeds))
            if inputs.image is not None:
                usual = USUAL_STRENGTHS[order.task_type]
                parameters["strength"] = usual if order.strength is None else order.strength
        return {**parameters, **_added(order)}

    def _images(
        self,
        orders: Sequence[Order],
        inputs: _Inputs | None,
        parameters: dict[str, Any],
        on_step: OnStep,
        cancelled: Callable[[], bool],
    ) -> Any:
        order, model = orders[0], self._model()
        if order.control_image is None:
            pipeline = model.pipeline_for(order.task_type)
        else:
            pipeline = model.additions.control.pipeline_for(order.task_type)
        pipeline.scheduler = make_scheduler(model.own_scheduler, order.scheduler)

        def after_step(pipe: Any, step: int, _: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if cancelled():
                # Leaving by an exception spares the decoding of a picture that nobody gets.
                raise Cancelled
            self._memory.step()
            on_step(step + 1, pipe.num_timesteps)
            return tensors

        size = (parameters["width"], parameters["height"])
        pictures: dict[str, Any] = {}
        if inputs is not None:
            inputs = _fitted(inputs, size)
            pictures = _as_arguments(inputs, parameters, len(order.seeds))
        arguments = model.kind.arguments_for(prompt_arguments(orders))
        skipped = skipped_layers(model.pipeline, order.clip_skip)
        if skipped is not None:
            arguments["clip_skip"] = skipped
        if order.task_type != IMAGE_TO_IMAGE or model.kind.sizes_image_to_image:
            # Other image-to-image takes its size from the picture.
            pictures["width"], pictures["height"] = size
        additions = model.additions.applied(
            pipeline, adapters=order.adapters, embeddings=order.embeddings, vae=order.vae
        )
        # The norm is found last: adapters are loaded without its name.
        with additions, norm_found(model.pipeline, skipped), torch.inference_mode():
            result = pipeline(
                num_inference_steps=parameters["steps"],
                guidance_scale=parameters["guidance_scale"],
                # One on the CPU for each picture: a picture depends on its seed alone, neither
                # on its neighbours nor on the device.
                generator=[
                    torch.Generator("cpu").manual_seed(seed)
                    for each in orders
                    for seed in each.seeds
                ],
                output_type="np",
                callback_on_step_end=after_step,
                **arguments,
                **pictures,
            )
        images = numpy.asarray(result.images)
        if not numpy.isfinite(images).all():
            raise EngineFailure("generation-failed", "the model gave pixels that are not numbers")
        if inputs is not None and inputs.mask is not None:
            images = _with_what_is_kept(images, inputs)
        return (images * 255).round().astype("uint8")

    def _upscaled(self, order: Order, on_step: OnStep, cancelled: Callable[[], bool]) -> _Images:
        # Only the model says whether it draws this, or nothing does.
        model = self._model()
        image = _decoded_image(order)
        if order.scale is None:
            raise EngineFailure("unsupported-request", "scale is missing")

        def after_step(step: int, steps: int) -> None:
            if cancelled():
                raise Cancelled
            on_step(step, steps)

        drawn: dict[str, Any] = {"steps": None, "guidance_scale": None}
        if upscaler_scale(model.pipeline) is None:
            if order.prompt or order.negative_prompt:
                raise EngineFailure(
                    "unsupported-request",
                    "the model is no upscaler, so that upscale draws nothing and takes no prompt",
                )
            larger = upscale(image, order.scale)
        else:
            model.pipeline.scheduler = make_scheduler(model.own_scheduler, None)
            larger, drawn = upscale_by_model(
                model.pipeline,
                image,
                prompt=order.prompt,
                negative_prompt=order.negative_prompt,
                seed=order.seeds[0],
                steps=order.steps,
                guidance_scale=order.guidance_scale,
                scale=order.scale,
                after_step=after_step,
            )
        parameters = {
            "width": larger.width,
            "height": larger.height,
            **drawn,
            "seed": order.seeds[0],
            "scheduler": None,
            "scale": order.scale,
        }
        return [larger], [parameters]


def _decoded(order: Order) -> _Inputs | None:
    """Decode what a drawing begins with; None where it begins with noise alone."""
    control = None
    if order.control_image is not None:
        most = order.max_input_pixels
        control = decode_picture(order.control_image, "control_image", max_pixels=most)
    if order.task_type == TEXT_TO_IMAGE:
        return None if control is None else _Inputs(control=control)
    image = _decoded_image(order)
    if order.task_type != INPAINTING:
        return _Inputs(image, control=control)
    if order.mask is None:
        raise EngineFailure("input-invalid", "mask is missing")
    mask = decode_mask(order.mask, "mask", max_pixels=order.max_input_pixels)
    if mask.size != image.size:
        raise EngineFailure(
            "input-invalid",
            f"mask must be as large as image, {image.width}x{image.height}, is "
            f"{mask.width}x{mask.height}",
        )
    return _Inputs(image, mask, control)


def _added(order: Order) -> dict[str, Any]:
    """Return the values that were used of what is added to the model, where it is."""
    added: dict[str, Any] = {}
    if order.adapters:
        added["adapters"] = [{"name": each.name, "weight": each.weight} for each in order.adapters]
    if order.embeddings:
        added["embeddings"] = [each.name for each in order.embeddings]
    if order.vae is not None:
        added["vae"] = order.vae.name
    if order.control_image is not None:
        added["control_scale"] = _control_scale(order)
    return added


def _control_scale(order: Order) -> float:
    return USUAL_CONTROL_SCALE if order.control_scale is None else order.control_scale


def _decoded_image(order: Order) -> Any:
    if order.image is None:
        raise EngineFailure("input-invalid", "image is missing")
    return decode_picture(order.image, "image", max_pixels=order.max_input_pixels)


def _check_size(width: int, height: int, count: int) -> None:
    """Check a size that may be a picture's own, to which the contract's limits were not applied."""
    low, high = limits.MIN_SIDE_PIXELS, limits.MAX_SIDE_PIXELS
    most = limits.MAX_PIXELS_PER_TASK
    if not (low <= min(width, height) and max(width, height) <= high):
        raise EngineFailure(
            "unsupported-request",
            f"image makes {width}x{height}, a side must be {low} to {high}: give width and height",
        )
    if width * height * count > most:
        raise EngineFailure(
            "unsupported-request",
            f"image makes {count} times {width}x{height}, at most {most} pixels are drawn: give "
            "width and height, or fewer num_images",
        )


def _fitted(inputs: _Inputs, size: tuple[int, int]) -> _Inputs:
    return _Inputs(
        None if inputs.image is None else fitted(inputs.image, size),
        None if inputs.mask is None else fitted(inputs.mask, size, smooth=False),
        None if inputs.control is None else fitted(inputs.control, size),
    )


def _as_arguments(inputs: _Inputs, parameters: dict[str, Any], count: int) -> dict[str, Any]:
    """Return the pipelines' arguments for pictures: one for each seed, as if it were alone."""
    arguments: dict[str, Any] = {}
    if inputs.control is not None:
        # The pipelines that begin with noise have but one picture, which is this one.
        arguments["image" if inputs.image is None else "control_image"] = inputs.control
        arguments["controlnet_conditioning_scale"] = parameters["control_scale"]
    if inputs.image is None:
        return arguments
    # At least one step; without any, the pipelines have nothing to work on.
    least = (1 + 1e-6) / parameters["steps"]
    arguments["image"] = [inputs.image] * count
    arguments["strength"] = min(1.0, max(parameters["strength"], least))
    if inputs.mask is not None:
        arguments["mask_image"] = [inputs.mask] * count
    return arguments


def _with_what_is_kept(images: Any, inputs: _Inputs) -> Any:
    """Put the picture's own pixels back where the mask is black, and blend where it is grey.

    The model draws all of the picture, and even what it keeps has gone through its autoencoder.
    """
    own = numpy.asarray(inputs.image, "float64") / 255
    share = numpy.asarray(inputs.mask, "float64")[..., None] / 255
    return images * share + own * (1 - share)
