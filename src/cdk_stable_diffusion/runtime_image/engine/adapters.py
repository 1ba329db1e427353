"""LoRA adapters on a loaded pipeline: loaded once, switched on for one drawing, never fused.

A layer that an adapter works on keeps its own weights beside the adapter's. Switched off, it does
what it did before, to the last bit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ...contract.limits import MAX_ADAPTERS
from ...contract.model_kind import LORA
from .asset_files import Asset, Shapes, Weights, broken, checked_weights, misfit
from .device_errors import raise_device_errors

MOST_KEPT = MAX_ADAPTERS
MOST_KEPT_BYTES = 1 << 30
"""What is kept loaded besides what a drawing needs: enough that tasks may take turns."""

# How the first of a pair's matrices is called, which is as wide as what comes in.
_FIRST = r"[._](?:lora_down|lora_A|lora\.down|lora_linear_layer\.down)(?:\.default)?\.weight$"
_FROM_TEXT = re.compile(r"attn2[._](?:processor\.)?to_[kv]" + _FIRST)
_OF_TRANSFORMER = re.compile(r"^(?:lora_)?transformer[._]|double_blocks|joint_blocks")
_WIDTHS = {768: "SD 1", 1024: "SD 2", 2048: "SDXL"}


class Adapters:
    """The adapters of one loaded pipeline, and of all pipelines that share its parts."""

    def __init__(self, pipeline: Any) -> None:
        """Begin without adapters.

        Args:
            pipeline: The loaded pipeline.
        """
        self._pipeline = pipeline
        # Bytes by digest, the one used longest ago first.
        self._loaded: dict[str, int] = {}

    @property
    def loaded(self) -> tuple[str, ...]:
        """Digests of what is loaded, the one used longest ago first."""
        return tuple(self._loaded)

    @contextmanager
    def applied(self, adapters: Sequence[Asset]) -> Iterator[None]:
        """Have adapters work while something is drawn.

        Args:
            adapters: The adapters. Their order decides the order of sums, and so the last bit.

        Raises:
            EngineFailure: If one of them cannot be used with this model.
        """
        # One without weight does nothing, and so need not be there.
        wanted = [each for each in adapters if each.weight]
        if not wanted:
            yield
            return
        try:
            weights: dict[str, float] = {}
            for each in wanted:
                self._load(each, keep={other.digest for other in wanted})
                weights[each.digest] = weights.get(each.digest, 0.0) + each.weight
            self._switch_on(weights)
            yield
        finally:
            self._switch_off()

    def _load(self, asset: Asset, *, keep: set[str]) -> None:
        if asset.digest in self._loaded:
            self._loaded[asset.digest] = self._loaded.pop(asset.digest)
            return
        weights = checked_weights(asset, LORA)
        self._check_base(asset, weights.shapes)
        size = weights.path.stat().st_size
        self._make_room(size, keep)
        try:
            self._read(asset, weights)
        except BaseException:
            self._delete(asset.digest)
            raise
        self._loaded[asset.digest] = size

    def _read(self, asset: Asset, weights: Weights) -> None:
        try:
            self._pipeline.load_lora_weights(
                str(weights.path.parent),
                weight_name=weights.path.name,
                adapter_name=_name(asset.digest),
                local_files_only=True,
                use_safetensors=True,
            )
        except Exception as error:
            raise_device_errors(error)
            if "size mismatch" in str(error) or "not found in the base model" in str(error):
                raise misfit(asset, _first_line(error)) from error
            raise broken(asset, f"{type(error).__name__}: {_first_line(error)}") from error
        if not any(True for _ in self._layers_with(asset.digest)):
            raise misfit(asset, "the model has none of the layers that it works on")

    def _check_base(self, asset: Asset, shapes: Shapes) -> None:
        unet = getattr(self._pipeline, "unet", None)
        if unet is None:
            return
        if any(_OF_TRANSFORMER.search(name) for name in shapes):
            raise misfit(asset, "it was made for a transformer, such as FLUX or SD 3")
        own = unet.config.cross_attention_dim
        widths = {shape[1] for name, shape in shapes.items() if _FROM_TEXT.search(name)}
        if isinstance(own, int) and widths and widths != {own}:
            raise misfit(
                asset,
                f"it was made for {_described(max(widths))}, the model is {_described(own)}",
            )

    def _make_room(self, size: int, keep: set[str]) -> None:
        """Delete those used longest ago that are not needed now."""
        for digest in [each for each in self._loaded if each not in keep]:
            count, total = len(self._loaded) + 1, sum(self._loaded.values()) + size
            if count <= MOST_KEPT and total <= MOST_KEPT_BYTES:
                return
            self._delete(digest)

    def _delete(self, digest: str) -> None:
        self._loaded.pop(digest, None)
        name = _name(digest)
        for part in self._parts():
            for layer in _layers(part):
                layer.delete_adapter(name)
            getattr(part, "peft_config", {}).pop(name, None)

    def _switch_on(self, weights: dict[str, float]) -> None:
        for part in self._parts():
            for layer in _layers(part):
                names = [_name(each) for each in weights if _name(each) in layer.scaling]
                layer.enable_adapters(bool(names))
                if names:
                    layer.set_adapter(names)
                for digest, weight in weights.items():
                    # Counted from the weights that it was trained with, whatever was set before.
                    layer.set_scale(_name(digest), weight)

    def _switch_off(self) -> None:
        for part in self._parts():
            for layer in _layers(part):
                layer.enable_adapters(False)

    def _layers_with(self, digest: str) -> Iterator[Any]:
        for part in self._parts():
            yield from (layer for layer in _layers(part) if _name(digest) in layer.scaling)

    def _parts(self) -> Iterator[Any]:
        names = getattr(self._pipeline, "_lora_loadable_modules", ())
        for part in (getattr(self._pipeline, name, None) for name in names):
            if part is not None:
                yield part


def _layers(part: Any) -> Iterator[Any]:
    """Return the layers of a part that adapters work on."""
    if not hasattr(part, "peft_config"):
        return
    from peft.tuners.tuners_utils import BaseTunerLayer

    yield from (each for each in part.modules() if isinstance(each, BaseTunerLayer))


def _name(digest: str) -> str:
    """Return what the libraries call an adapter: a name of theirs may hold no dot."""
    return f"adapter_{digest}"


def _described(width: int) -> str:
    known = f", as {_WIDTHS[width]} has" if width in _WIDTHS else ""
    return f"text of width {width}{known}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Of a list of tensors that do not fit, the first says enough.
    return " ".join(lines[:2])[:500]
