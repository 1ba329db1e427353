"""What a task adds to its model: found, fetched, checked, and held while it is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ...contract import TaskRequest
from ...contract.model_kind import LORA, TEXTUAL_INVERSION, VAE
from .engine import AssetDirectory
from .failure import TaskFailure
from .model_in_use import ModelInUse
from .models import Models


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """Something that a request adds to its model.

    Attributes:
        field: The request's field.
        name: Its name in the model bucket.
        kind: What it must be; one of `contract.model_kind.MODEL_KINDS`.
        weight: How strongly it works.
    """

    field: str
    name: str
    kind: str
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AdditionsInUse:
    """What a task adds to its model: it stays on the disk until `close`.

    Attributes:
        adapters: LoRA adapters, in the request's order.
        embeddings: Textual inversion embeddings.
        vae: An autoencoder in place of the model's own.
    """

    adapters: tuple[AssetDirectory, ...] = ()
    embeddings: tuple[AssetDirectory, ...] = ()
    vae: AssetDirectory | None = None
    _held: tuple[ModelInUse, ...] = ()

    def close(self) -> None:
        """Say that they are no longer in use."""
        for each in self._held:
            each.close()


def additions_of(request: TaskRequest) -> Iterator[Addition]:
    """Return what a request adds to its model.

    Args:
        request: The checked request.
    """
    for each in request.adapters:
        yield Addition(field="adapters", name=each.name, kind=LORA, weight=each.weight)
    for name in request.embeddings:
        yield Addition(field="embeddings", name=name, kind=TEXTUAL_INVERSION)
    if request.vae is not None:
        yield Addition(field="vae", name=request.vae, kind=VAE)


def open_additions(models: Models, request: TaskRequest) -> AdditionsInUse:
    """Bring everything that a request adds to its model to the disk.

    Args:
        models: Where it is found.
        request: The checked request, whose model is in use already.

    Raises:
        TaskFailure: If one of them is nowhere, or is not as its manifest says, or is something
            else than the field is for, or all have no room beside each other.
    """
    additions = list(additions_of(request))
    if not additions:
        return AdditionsInUse()
    sizes = models.size_in_cache(request.model)
    for each in additions:
        with _blaming(each):
            sizes |= models.size_in_cache(each.name)
    models.check_room(sizes)
    held: list[ModelInUse] = []
    try:
        for each in additions:
            with _blaming(each):
                held.append(models.open(each.name, kind=each.kind))
    except BaseException:
        for opened in held:
            opened.close()
        raise
    found: dict[str, list[AssetDirectory]] = {"adapters": [], "embeddings": [], "vae": []}
    for each, opened in zip(additions, held, strict=True):
        directory = opened.directory
        found[each.field].append(
            AssetDirectory(
                name=each.name, digest=directory.digest, path=directory.path, weight=each.weight
            )
        )
    return AdditionsInUse(
        adapters=tuple(found["adapters"]),
        embeddings=tuple(found["embeddings"]),
        vae=next(iter(found["vae"]), None),
        _held=tuple(held),
    )


@contextmanager
def _blaming(addition: Addition) -> Iterator[None]:
    """Say of a failure which field of the request it is up to."""
    try:
        yield
    except TaskFailure as failure:
        raise TaskFailure(
            failure.code, f"{addition.field}: {failure.detail}", transient=failure.transient
        ) from None
