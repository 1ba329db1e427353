"""What the agent knows of an engine: this protocol, and nothing of how pictures are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ...contract import Parameters
from ...contract.limits import MAX_INPUT_PIXELS
from ...contract.task_type import TEXT_TO_IMAGE

OnStep = Callable[[int, int], None]
"""Called with the number of finished steps and of all steps."""


class EngineCancelled(Exception):
    """The work was cancelled; what it had made so far is gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelDirectory:
    """A model's checked files on this machine.

    Attributes:
        name: The model's name.
        digest: Identity of its weights; the engine keeps a model that it has already.
        path: Directory that holds the files.
    """

    name: str
    digest: str
    path: Path


@dataclass(frozen=True, kw_only=True, slots=True)
class AssetDirectory:
    """The checked files, on this machine, of something that is added to a model.

    Attributes:
        name: Its name.
        digest: Identity of its weights; the engine keeps what it has already.
        path: Directory that holds the files.
        weight: How strongly it works.
    """

    name: str
    digest: str
    path: Path
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """What to draw. `None` leaves a value to the pipeline.

    Attributes:
        prompt: What the pictures shall show.
        negative_prompt: What they shall not show.
        seeds: Seed of each picture.
        width: Width in pixels.
        height: Height in pixels.
        steps: Denoising steps.
        guidance_scale: Classifier-free guidance scale.
        scheduler: Name from `contract.SCHEDULERS`; None is the model's own.
        task_type: One of `contract.TASK_TYPES`.
        inputs: Files of the input images, by the request's field: "image", "mask",
            "control_image".
        strength: How far from the image the pictures may go.
        scale: How many times larger to make the image.
        max_input_pixels: Most pixels of an input image.
        adapters: LoRA adapters to add to the model.
        embeddings: Textual inversion embeddings to add to it.
        vae: An autoencoder in place of its own.
        control_scale: How strongly the ControlNet binds.
        clip_skip: Which layer of the text encoder to read, counted from its end.
    """

    prompt: str
    negative_prompt: str = ""
    seeds: tuple[int, ...]
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    scheduler: str | None = None
    task_type: str = TEXT_TO_IMAGE
    inputs: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    strength: float | None = None
    scale: int | None = None
    max_input_pixels: int = MAX_INPUT_PIXELS
    adapters: tuple[AssetDirectory, ...] = ()
    embeddings: tuple[AssetDirectory, ...] = ()
    vae: AssetDirectory | None = None
    control_scale: float | None = None
    clip_skip: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Raster:
    """A picture as raw RGB bytes, row by row.

    Attributes:
        width: Width in pixels.
        height: Height in pixels.
        pixels: ``width * height * 3`` bytes.
        seed: The seed it was drawn from.
    """

    width: int
    height: int
    pixels: bytes = field(repr=False)
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeFile:
    """A file that an engine has made and that is stored as it is, such as a video.

    Attributes:
        data: The file.
        content_type: Its media type; one of `contract.result.CONTENT_TYPES`.
        width: Width in pixels; None where it is not known.
        height: Height in pixels; None where it is not known.
        seed: The seed it was drawn from.
    """

    data: bytes = field(repr=False)
    content_type: str
    width: int | None
    height: int | None
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """What the engine made.

    Attributes:
        pictures: The pictures, in the order of the seeds.
        parameters: The values that were used.
        software: Versions of what made them, such as ``{"diffusers": "0.42.1"}``.
        most_pictures: How many such pictures one pass has memory for, as this one showed; None
            where nothing but the settings limits them.
    """

    pictures: tuple[Raster | MadeFile, ...]
    parameters: Parameters
    software: dict[str, str]
    most_pictures: int | None = None

    @property
    def rasters(self) -> tuple[Raster, ...]:
        """Those of the pictures that are no files yet; with the agent's own engine, all."""
        return tuple(each for each in self.pictures if isinstance(each, Raster))


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineHealth:
    """How the engine is.

    Attributes:
        running: Whether its process lives.
        ready: Whether it can take a command at once, its imports being done.
        model: Digest of the model that it draws with.
        held: Where it holds models, by their digest: `contract.tiers.GPU` or `MEMORY`. One that it
            does not draw with may be gone by the time that it is asked for.
    """

    running: bool
    ready: bool
    model: str | None = None
    held: Mapping[str, str] = field(default_factory=dict)


class Engine(Protocol):
    """Makes pictures. Commands come from one thread; `cancel` and `health` from any."""

    def start(self) -> None:
        """Start if it is not running; returns before it is ready."""

    def wait_until_ready(self, timeout: float) -> bool:
        """Wait until it can take commands; tell whether it can."""

    def load(self, model: ModelDirectory, *, timeout: float) -> str:
        """Make a model the one to draw with; does nothing if it is already.

        Returns:
            Where it was: `contract.tiers.GPU`, `MEMORY` or `DISK`.

        Raises:
            TaskFailure: If that is impossible.
        """

    def warm(self, model: ModelDirectory) -> None:
        """Read a model into the host's memory that is to be loaded soon, beside what it draws.

        Returns at once. From any thread. An engine may do nothing here, and does nothing where it
        has the model or no room for it. `health` tells when it has it. Its files are needed no more
        then; if they go before, it is not read.
        """

    def generate(
        self, generation: Generation, *, timeout: float, on_step: OnStep | None = None
    ) -> Drawing:
        """Draw with the loaded model.

        Raises:
            TaskFailure: If that is impossible.
            EngineCancelled: If `cancel` was called.
        """

    def generate_together(
        self,
        generations: Sequence[Generation],
        *,
        timeout: float,
        on_step: OnStep | None = None,
    ) -> tuple[Drawing, ...]:
        """Draw for several tasks in one pass.

        They differ in prompts, seeds and number of pictures alone; each picture is as if its task
        had been alone, but for what a device's rounding depends on the size of a batch.

        Raises:
            TaskFailure: If that is impossible, for all of them.
            EngineCancelled: If `cancel` was called.
        """

    def prepare(self, generations: Sequence[Generation]) -> None:
        """Take in what is asked for next, to begin with it the moment the present work ends.

        It is asked for as always then. It is forgotten if something else is asked for, or prepared;
        to prepare nothing is to forget it. An engine may do nothing here.
        """

    def cancel(self) -> None:
        """Stop what is being drawn within one step, if there is one."""

    def health(self) -> EngineHealth:
        """Tell how it is, without waiting."""

    def close(self) -> None:
        """End it, at once."""
