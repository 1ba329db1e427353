"""Everything that a drawing may add to the loaded model, put on and taken off as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .adapters import Adapters
from .asset_files import Asset
from .autoencoders import Autoencoders
from .control import Control
from .embeddings import embeddings_applied


class Additions:
    """What is added to one loaded pipeline. It moves with it, and is gone with it."""

    def __init__(self, pipeline: Any, directory: Path) -> None:
        """Begin with the bare model.

        Args:
            pipeline: The loaded pipeline.
            directory: The model's directory.
        """
        self.adapters = Adapters(pipeline)
        self.control = Control(pipeline, directory)
        self._autoencoders = Autoencoders(pipeline)

    @property
    def modules(self) -> tuple[Any, ...]:
        """What is kept beside the pipeline's own modules."""
        return (*self.control.modules, *self._autoencoders.modules)

    @contextmanager
    def applied(
        self,
        pipeline: Any,
        *,
        adapters: Sequence[Asset],
        embeddings: Sequence[Asset],
        vae: Asset | None,
    ) -> Iterator[None]:
        """Add to the model while something is drawn. Afterwards it is what it was, exactly.

        Args:
            pipeline: The pipeline that draws.
            adapters: LoRA adapters.
            embeddings: Textual inversion embeddings.
            vae: An autoencoder in place of the model's own.

        Raises:
            EngineFailure: If one of them cannot be used with this model.
        """
        with (
            self.adapters.applied(adapters),
            embeddings_applied(pipeline, embeddings),
            self._autoencoders.applied(pipeline, vae),
        ):
            yield
