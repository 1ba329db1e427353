"""What lies under a name in the model bucket: a model, or something to add to one.

Found out from the files themselves, so that nobody has to say it and nobody can say it wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .safetensors_header import tensor_shapes
from .workflow import WORKFLOW_NAME

PIPELINE = "pipeline"
LORA = "lora"
TEXTUAL_INVERSION = "textual-inversion"
VAE = "vae"

MODEL_KINDS = (PIPELINE, LORA, TEXTUAL_INVERSION, VAE)

KIND_IN_WORDS = {
    PIPELINE: "a model",
    LORA: "a LoRA adapter",
    TEXTUAL_INVERSION: "a textual inversion embedding",
    VAE: "an autoencoder (VAE)",
}

_LORA_PART = "lora"
"""What is in the name of every tensor of a LoRA, in every tool's spelling."""

_KIN_OF_LORA = re.compile(r"[._](?:hada|lokr|oft)_")
"""What is in the names of its kin, LoHa, LoKr and OFT, which the engine does not take."""

PIPELINE_INDEX_NAME = "model_index.json"
"""File that tells a diffusers directory."""

WEIGHTS_SUFFIX = ".safetensors"

NO_MODEL = (
    f"no {PIPELINE_INDEX_NAME}, no {WORKFLOW_NAME} and no single {WEIGHTS_SUFFIX} file: not a model"
)

# The last two are those of SD 3's and FLUX's denoiser, when it is alone.
_CHECKPOINT_PREFIXES = ("model.diffusion_model.", "joint_blocks.", "double_blocks.")
_EMBEDDING_KEYS = ({"emb_params"}, {"clip_l", "clip_g"})
_EMBEDDING_DIMENSIONS = (1, 2)
_AUTOENCODER_PARTS = ("encoder.", "decoder.")
_AUTOENCODER_PREFIX = "first_stage_model."
_AUTOENCODER_CONFIG = "config.json"
# What diffusers calls encoder.down_blocks.
_OF_CHECKPOINT = ("encoder.down.", "first_stage_model.encoder.down.")


def weights_path(paths: Iterable[str]) -> str | None:
    """Return the one file of weights of what is added to a model; None if there is not just one.

    Args:
        paths: Paths inside its directory.
    """
    weights = [path for path in paths if "/" not in path and path.lower().endswith(WEIGHTS_SUFFIX)]
    return weights[0] if len(weights) == 1 else None


def checkpoint_name(paths: Iterable[str]) -> str | None:
    """Return which file of a model is its single-file checkpoint.

    Args:
        paths: Paths inside the model's directory.

    Returns:
        The one .safetensors file at the top of a directory that is no pipeline's; None if it is a
        pipeline's, or there is none, or more than one.
    """
    paths = set(paths)
    return None if PIPELINE_INDEX_NAME in paths else weights_path(paths)


def is_model(paths: Iterable[str]) -> bool:
    """Tell whether files make a model: a pipeline, a checkpoint alone, or a ComfyUI workflow.

    Args:
        paths: Paths inside the model's directory.
    """
    top = {path for path in paths if "/" not in path}
    return bool(top & {PIPELINE_INDEX_NAME, WORKFLOW_NAME}) or checkpoint_name(top) is not None


def kind_of_directory(directory: Path, paths: Sequence[str]) -> str:
    """Return what lies in a directory.

    Args:
        directory: The directory.
        paths: Paths of its files inside it.

    Returns:
        One of `MODEL_KINDS`.

    Raises:
        ValueError: If it is none of these.
    """
    if PIPELINE_INDEX_NAME in paths or WORKFLOW_NAME in paths:
        return PIPELINE
    path = checkpoint_name(paths)
    if path is None:
        raise ValueError(f"{directory} has {NO_MODEL}")
    try:
        shapes = tensor_shapes(directory / path)
    except ValueError as error:
        raise ValueError(f"{path} {error}") from None
    kind = kind_of_tensors(shapes)
    if kind is None and is_kin_of_lora(shapes):
        raise ValueError(f"{path} is a LoHa, LoKr or OFT: of its kin only LoRA is taken")
    if kind is None:
        # Which checkpoints there are is for the engine to know.
        return PIPELINE
    if kind != PIPELINE and any(each.endswith(WEIGHTS_SUFFIX) for each in {*paths} - {path}):
        raise ValueError(
            f"{directory} has weights beside {path}, which is {KIND_IN_WORDS[kind]} and no model "
            "that they could belong to"
        )
    if kind == VAE and _AUTOENCODER_CONFIG not in paths and not is_vae_of_checkpoint(shapes):
        raise ValueError(
            f"{path} is an autoencoder in diffusers' form, and {_AUTOENCODER_CONFIG} is not beside "
            "it: give its directory"
        )
    return kind


def kind_of_tensors(shapes: Mapping[str, tuple[int, ...]]) -> str | None:
    """Return what the tensors of a file make; None if that is nothing known.

    Args:
        shapes: The shape of each tensor, by its name.

    Returns:
        One of `MODEL_KINDS`, "pipeline" for a whole checkpoint.
    """
    if any(name.startswith(_CHECKPOINT_PREFIXES) for name in shapes) and not any(
        _LORA_PART in name for name in shapes
    ):
        return PIPELINE
    # Before LoRA: the only tensor of an embedding may have any name at all.
    if _is_embedding(shapes):
        return TEXTUAL_INVERSION
    if is_kin_of_lora(shapes):
        return None
    if any(_LORA_PART in name for name in shapes):
        return LORA
    plain = [name.removeprefix(_AUTOENCODER_PREFIX) for name in shapes]
    if all(any(name.startswith(part) for name in plain) for part in _AUTOENCODER_PARTS):
        return VAE
    return None


def is_vae_of_checkpoint(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether an autoencoder is in the form that checkpoints have, without settings.

    Args:
        shapes: The shape of each tensor, by its name.
    """
    return any(name.startswith(_OF_CHECKPOINT) for name in shapes)


def is_kin_of_lora(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether the tensors are those of an adapter that is no LoRA.

    Args:
        shapes: The shape of each tensor, by its name.
    """
    return any(_KIN_OF_LORA.search(name) for name in shapes)


def _is_embedding(shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Tell whether every tensor is one vector or a few."""
    if len(shapes) != 1 and set(shapes) not in _EMBEDDING_KEYS:
        return False
    return all(len(shape) in _EMBEDDING_DIMENSIONS for shape in shapes.values())
