"""Loading a model from one .safetensors file, offline, with the configurations of its family."""

from __future__ import annotations

import importlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...contract.safetensors_header import Header, read_header
from .checkpoint_family import Family, family_of
from .failure import EngineFailure
from .pipeline_classes import half_precision, pipeline_class
from .schedulers import scheduler_from
from .tokenizers import CONFIGS, clip_tokenizer, t5_tokenizer

_V_PREDICTION = {"v": "v_prediction", "v_prediction": "v_prediction", "epsilon": "epsilon"}


def load_single_file(path: Path, *, in_half: bool, configs: Path = CONFIGS) -> Any:
    """Load a pipeline from a checkpoint.

    A folder beside it that is called as one of the pipeline's components, such as ``vae`` or
    ``text_encoder_2``, and holds what diffusers saves of one, is taken in place of the
    checkpoint's.

    Args:
        path: The checkpoint.
        in_half: Whether to compute in 16 bits.
        configs: Folder of the families' configurations. Default: the package's.

    Raises:
        EngineFailure: If its family is not supported, or it lacks what the family needs.
    """
    try:
        header = read_header(path)
    except ValueError as error:
        raise EngineFailure("model-invalid", f"{path.name} {error}") from None
    family = family_of(header)
    checkpoint = _Checkpoint(path, header, family, configs / family.configs)
    index = json.loads((checkpoint.configs / "model_index.json").read_text("utf-8"))
    chosen = pipeline_class(index["_class_name"])
    dtype = half_precision(chosen) if in_half else torch.float32
    components = {
        name: (value[0], value[1])
        for name, value in index.items()
        if isinstance(value, list) and value[0] is not None
    }
    parts = _parts(checkpoint, components, dtype)
    try:
        return chosen.from_single_file(
            str(path), config=str(checkpoint.configs), local_files_only=True, dtype=dtype, **parts
        )
    except NotImplementedError:
        # What torch says of weights that nothing was put into.
        raise EngineFailure(
            "model-invalid",
            f"{path.name} is {family.name} by its first tensors, but does not have all of them",
        ) from None


@dataclass(frozen=True, slots=True)
class _Checkpoint:
    path: Path
    header: Header
    family: Family
    configs: Path

    def lacking(self) -> set[str]:
        """Return the components of which neither the file nor a folder beside it has weights."""
        lacking = {
            name
            for name in self.family.parts
            if not self.family.holds(self.header, name) and not (self.path.parent / name).is_dir()
        }
        if lacking - self.family.optional:
            raise EngineFailure(
                "model-invalid",
                f"{self.path.name} is {self.family.name}, but has no "
                f"{', '.join(sorted(lacking))}; put each beside it as the folder that diffusers "
                f"saves, such as {min(lacking)}/config.json with its .safetensors",
            )
        return lacking


def _parts(
    checkpoint: _Checkpoint, components: dict[str, tuple[str, str]], dtype: Any
) -> dict[str, Any]:
    """Return the components that the checkpoint itself is not asked for."""
    path, configs = checkpoint.path, checkpoint.configs
    lacking = checkpoint.lacking()
    parts: dict[str, Any] = dict.fromkeys(lacking)
    for name, (library, class_name) in components.items():
        beside = path.parent / name
        if name in lacking:
            continue
        if name == "scheduler":
            parts[name] = scheduler_from(beside if beside.is_dir() else configs / name)
            if not beside.is_dir():
                parts[name] = _as_trained(parts[name], checkpoint.header)
        elif name.startswith("tokenizer"):
            is_needed = name.replace("tokenizer", "text_encoder") not in lacking
            made = _tokenizer(beside, name, class_name, checkpoint.family) if is_needed else None
            parts[name] = made
        elif beside.is_dir():
            component = getattr(importlib.import_module(library), class_name)
            parts[name] = component.from_pretrained(
                str(beside), dtype=dtype, use_safetensors=True, local_files_only=True
            )
    return parts


def _tokenizer(beside: Path, name: str, class_name: str, family: Family) -> Any:
    if beside.is_dir():
        component = getattr(importlib.import_module("transformers"), class_name)
        return component.from_pretrained(str(beside), local_files_only=True)
    if class_name.startswith("T5"):
        return t5_tokenizer()
    # OpenCLIP's text encoders were trained with the first token as what fills up.
    is_open_clip = name == "tokenizer_2" or family.configs == "sd21"
    return clip_tokenizer(pad="!") if is_open_clip else clip_tokenizer()


def _as_trained(scheduler: Any, header: Header) -> Any:
    """Heed what trainers write into a checkpoint of how it predicts."""
    changes: dict[str, Any] = {}
    said = _V_PREDICTION.get(header.metadata.get("modelspec.prediction_type", ""))
    if "v_pred" in header.shapes:
        said = "v_prediction"
    if said is not None and "prediction_type" in scheduler.config:
        changes["prediction_type"] = said
    chosen = type(scheduler)
    if "ztsnr" in header.shapes and "prediction_type" in scheduler.config:
        from diffusers import EulerDiscreteScheduler

        changes |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        chosen = EulerDiscreteScheduler
    return chosen.from_config(scheduler.config, **changes) if changes else scheduler
