"""A model in memory, with everything that belongs to it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from .additions import Additions
from .device_errors import raise_device_errors
from .failure import EngineFailure
from .finishing import NO_CHECKER
from .model_kind import ModelKind, kind_of
from .models_checker import take_checker
from .pipeline_classes import pipeline_for, upscaler_scale

_ALIGNED_BYTES = 64


class LoadedModel:
    """A pipeline and what is made of it. Nothing of it is shared with another model."""

    def __init__(self, pipeline: Any, directory: Path, *, device: str, with_checker: bool) -> None:
        """Take over a pipeline.

        Args:
            pipeline: The pipeline, in the host's memory.
            directory: The model's directory.
            device: The device that draws.
            with_checker: Whether the model's own safety checker is wanted.

        Raises:
            EngineFailure: If it has none.
        """
        self.pipeline = pipeline
        self.own_scheduler = pipeline.scheduler
        self._device = device
        parts = (part for part in pipeline.components.values() if part is not None)
        # The checker is one of them, and is taken out of the pipeline after this.
        self._modules = [part for part in parts if isinstance(part, torch.nn.Module)]
        self.checker = take_checker(pipeline)
        if with_checker and self.checker is None:
            raise EngineFailure("model-invalid", NO_CHECKER)
        pipeline.set_progress_bar_config(disable=True)
        if device == "cuda":
            # Decodes one picture after the other, which takes no more memory for more of them.
            pipeline.vae.enable_slicing()
        self.additions = Additions(pipeline, directory)
        self._kind = None if upscaler_scale(pipeline) else kind_of(pipeline)
        # By task type; they share the pipeline's parts, and so take no memory of their own.
        self.others: dict[str, Any] = {}

    @property
    def kind(self) -> ModelKind:
        """What the pipeline can do."""
        # An upscaler has none, and says so here.
        return self._kind or kind_of(self.pipeline)

    @property
    def size(self) -> int:
        """Bytes of all weights, each counted once."""
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in self._tensors()}.values())

    def pipeline_for(self, task_type: str) -> Any:
        """Return the pipeline for a task type.

        Args:
            task_type: A task type that draws.

        Raises:
            EngineFailure: If the model cannot be put to that work.
        """
        if task_type not in self.others:
            other = pipeline_for(self.pipeline, task_type)
            other.set_progress_bar_config(disable=True)
            self.others[task_type] = other
        return self.others[task_type]

    def found_in(self, directory: Path) -> None:
        """Hear where the model's files are now, of which some are read when a task asks for them.

        Args:
            directory: Their directory.
        """
        self.additions.control.directory = directory

    def to_device(self) -> None:
        """Move it to the device that draws; see `shelf.Movable`."""
        self._move(self._device)
        if self._device == "cpu":
            self._align()

    def to_memory(self) -> None:
        """Move it to the host's memory; see `shelf.Movable`."""
        self._move("cpu")

    def drop(self) -> None:
        """Let go of its memory at once, whoever still knows of it."""
        # A device that is broken frees nothing, and its process is about to end.
        with suppress(RuntimeError):
            for module in self._all_modules():
                module.to("meta")

    def _move(self, device: str) -> None:
        try:
            for module in self._all_modules():
                # Without the pipeline's own method, which warns of 16 bits in the host's memory.
                module.to(device)
        except Exception as error:
            raise_device_errors(error)
            raise

    def _align(self) -> None:
        """Put all weights where allocated ones are, as a GPU has them in any case.

        Those that lie in a mapped file begin anywhere, and processors add numbers up in another
        order for that: the last bit would depend on how a model was read.
        """
        for tensor in self._tensors():
            if tensor.data_ptr() % _ALIGNED_BYTES:
                tensor.data = tensor.data.clone()

    def _all_modules(self) -> Iterator[Any]:
        yield from self._modules
        yield from self.additions.modules

    def _tensors(self) -> Iterator[torch.Tensor]:
        for module in self._all_modules():
            yield from module.parameters()
            yield from module.buffers()
