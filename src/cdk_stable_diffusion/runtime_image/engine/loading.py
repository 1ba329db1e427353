"""Loading a model's directory, of whichever format."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch

from .failure import EngineFailure
from .model_directory import checked_pipeline_class, checkpoint_in, variant_of
from .pipeline_classes import half_precision
from .single_file import load_single_file


def load_pipeline(directory: Path, *, in_half: bool, with_checker: bool = False) -> Any:
    """Load a pipeline into the host's memory.

    Args:
        directory: A diffusers directory, or one with a single-file checkpoint.
        in_half: Whether to compute in 16 bits.
        with_checker: Whether to load the safety checker that it may have. Default: no.

    Raises:
        EngineFailure: If it is none that is supported.
    """
    checkpoint = checkpoint_in(directory)
    if checkpoint is not None:
        return load_single_file(checkpoint, in_half=in_half)
    chosen = checked_pipeline_class(directory)
    without: dict[str, Any] = {}
    if not with_checker and "safety_checker" in inspect.signature(chosen.__init__).parameters:
        without = {"safety_checker": None}
    pipeline = chosen.from_pretrained(
        str(directory),
        dtype=half_precision(chosen) if in_half else torch.float32,
        use_safetensors=True,
        local_files_only=True,
        variant=variant_of(directory),
        **without,
    )
    _check_complete(pipeline)
    return pipeline


def _check_complete(pipeline: Any) -> None:
    """Check that all weights were in the files: the library leaves others without any numbers."""
    for part, module in pipeline.components.items():
        if isinstance(module, torch.nn.Module):
            for name, weight in module.named_parameters():
                if weight.is_meta:
                    raise EngineFailure("model-invalid", f"{part}/ has no weights for {name}")
