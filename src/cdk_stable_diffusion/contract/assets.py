"""What a request may add to its model, each by its name in the model bucket."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import limits
from .fields import Field, Number, ObjectField, Text, TextList
from .names import MODEL_NAME_PATTERN, MODEL_NAME_SAYS


def _name(name: str, description: str, *, required: bool = False) -> Text:
    return Text(
        name,
        description,
        required=required,
        min_length=1,
        max_length=limits.MAX_MODEL_NAME_CHARACTERS,
        pattern=MODEL_NAME_PATTERN,
        pattern_says=MODEL_NAME_SAYS,
    )


ADAPTER_FIELDS: tuple[Field, ...] = (
    _name("name", "Name of the adapter, as it is called in the model bucket.", required=True),
    Number(
        "weight",
        "How strongly it works: 0 is not at all, 1 as it was trained.",
        default=1.0,
        minimum=limits.MIN_ADAPTER_WEIGHT,
        maximum=limits.MAX_ADAPTER_WEIGHT,
    ),
)

ADAPTERS_FIELD = ObjectField(
    "adapters",
    f"LoRA adapters to add to the model, at most {limits.MAX_ADAPTERS}, each once.",
    fields=ADAPTER_FIELDS,
    many=True,
    max_items=limits.MAX_ADAPTERS,
    key="name",
)
EMBEDDINGS_FIELD = TextList(
    "embeddings",
    "Names of textual inversion embeddings in the model bucket, at most "
    f"{limits.MAX_EMBEDDINGS}, each once. In the prompts `<name>` stands for what the embedding "
    "learnt.",
    items=_name("name", "Name of the embedding."),
    max_items=limits.MAX_EMBEDDINGS,
)
VAE_FIELD = _name(
    "vae",
    "Name of an autoencoder (VAE) in the model bucket, to use in place of the model's own.",
)


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter and how strongly it works; the fields are described in `ADAPTER_FIELDS`."""

    name: str
    weight: float = 1.0


def read_adapters(values: list[dict[str, Any]] | None) -> tuple[Adapter, ...]:
    """Return adapters from checked JSON, None being none."""
    return tuple(
        Adapter(value["name"], 1.0 if value.get("weight") is None else float(value["weight"]))
        for value in values or ()
    )
