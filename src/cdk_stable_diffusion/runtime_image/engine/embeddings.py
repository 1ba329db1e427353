"""Textual inversion: words that a text encoder has learnt since.

For one drawing the tokenizers are replaced by copies that know the new words, and the tables of
the words' vectors by longer ones. Afterwards the model's own are back, the same objects as before.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from safetensors.torch import load_file

from ...contract.model_kind import TEXTUAL_INVERSION
from .asset_files import Asset, broken, checked_weights, misfit
from .failure import EngineFailure

MOST_VECTORS = 75
"""As many words as a prompt can have."""

_ENCODERS = (("tokenizer", "text_encoder", "clip_l"), ("tokenizer_2", "text_encoder_2", "clip_g"))
_BY_CLASS = {"StableDiffusion": _ENCODERS[:1], "StableDiffusionXL": _ENCODERS}


def word(name: str) -> str:
    """Return what stands for an embedding in a prompt."""
    return f"<{name}>"


@contextmanager
def embeddings_applied(pipeline: Any, embeddings: Sequence[Asset]) -> Iterator[None]:
    """Have a pipeline know some words while something is drawn.

    Args:
        pipeline: The pipeline that draws.
        embeddings: What the words mean.

    Raises:
        EngineFailure: If one of them cannot be used with this model.
    """
    if not embeddings:
        yield
        return
    encoders = _encoders(pipeline)
    vectors = {each: _vectors(each, len(encoders)) for each in embeddings}
    with ExitStack() as stack:
        for tokenizer, encoder, key in encoders:
            new = {each: found[key] for each, found in vectors.items()}
            stack.enter_context(_taught(pipeline, tokenizer, getattr(pipeline, encoder), new))
        yield


def _encoders(pipeline: Any) -> tuple[tuple[str, str, str], ...]:
    family = type(pipeline).__name__.partition("Pipeline")[0]
    for suffix in ("ControlNetImg2Img", "ControlNetInpaint", "ControlNet", "Img2Img", "Inpaint"):
        family = family.removesuffix(suffix)
    if family not in _BY_CLASS:
        raise EngineFailure("unsupported-request", "embeddings do nothing with this kind of model")
    return _BY_CLASS[family]


def _vectors(asset: Asset, encoders: int) -> dict[str, torch.Tensor]:
    """Read the vectors for each text encoder."""
    weights = checked_weights(asset, TEXTUAL_INVERSION)
    is_for_two = "clip_g" in weights.shapes
    if is_for_two != (encoders == len(_ENCODERS)):
        raise misfit(
            asset,
            f"it was made for {2 if is_for_two else 1} text encoders, the model has {encoders}",
        )
    try:
        tensors = load_file(weights.path)
    except Exception as error:
        raise broken(asset, f"{weights.path.name} cannot be read: {error}") from error
    found = {
        key if is_for_two else "clip_l": tensor if tensor.ndim > 1 else tensor[None]
        for key, tensor in tensors.items()
    }
    for tensor in found.values():
        if not 1 <= len(tensor) <= MOST_VECTORS:
            raise broken(asset, f"has {len(tensor)} vectors: 1 to {MOST_VECTORS}")
        if not torch.isfinite(tensor.float()).all():
            raise broken(asset, "holds values that are not numbers")
    return found


@contextmanager
def _taught(
    pipeline: Any, name: str, encoder: Any, vectors: dict[Asset, torch.Tensor]
) -> Iterator[None]:
    tokenizer, table = getattr(pipeline, name), encoder.get_input_embeddings()
    longer_tokenizer = copy.deepcopy(tokenizer)
    rows: dict[int, torch.Tensor] = {}
    for asset, tensor in vectors.items():
        if tensor.shape[1] != table.embedding_dim:
            raise misfit(
                asset,
                f"its vectors have width {tensor.shape[1]}, those of the model's text encoder "
                f"{table.embedding_dim}",
            )
        rows.update(zip(_add_words(longer_tokenizer, asset.name, len(tensor)), tensor, strict=True))
    longer_table = _longer(table, rows)
    setattr(pipeline, name, longer_tokenizer)
    encoder.set_input_embeddings(longer_table)
    try:
        yield
    finally:
        encoder.set_input_embeddings(table)
        setattr(pipeline, name, tokenizer)


def _add_words(tokenizer: Any, name: str, count: int) -> list[int]:
    """Add a word for each vector, named as the pipelines look for them, and return their ids."""
    from tokenizers import AddedToken

    words = [word(name), *(f"{word(name)}_{index}" for index in range(1, count))]
    # As it is spelt: lower-casing would make two names one.
    tokenizer.add_tokens([AddedToken(each, normalized=False) for each in words])
    ids: list[int] = tokenizer.convert_tokens_to_ids(words)
    return ids


def _longer(table: torch.nn.Embedding, rows: dict[int, torch.Tensor]) -> torch.nn.Embedding:
    """Return a copy of a table that has these rows, too."""
    own = table.weight
    weight = own.new_zeros((max(len(own), max(rows) + 1), own.shape[1]))
    weight[: len(own)] = own.detach()
    for place, row in rows.items():
        weight[place] = row.to(weight)
    return torch.nn.Embedding.from_pretrained(weight, freeze=True)
