"""Another autoencoder (VAE) in place of the model's own, for one drawing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ...contract.model_kind import VAE, is_vae_of_checkpoint
from .asset_files import Asset, Weights, broken, checked_weights, misfit
from .device_errors import raise_device_errors
from .failure import EngineFailure

_CLASS = "AutoencoderKL"


class Autoencoders:
    """The autoencoders beside that of one loaded pipeline: one is kept, for the next that asks."""

    def __init__(self, pipeline: Any) -> None:
        """Begin without any.

        Args:
            pipeline: The loaded pipeline.
        """
        self._own: Any = getattr(pipeline, "vae", None)
        self._kept: tuple[str, Any] | None = None

    @property
    def modules(self) -> tuple[Any, ...]:
        """The one that is kept."""
        return () if self._kept is None else (self._kept[1],)

    @contextmanager
    def applied(self, pipeline: Any, asset: Asset | None) -> Iterator[None]:
        """Have a pipeline use an autoencoder while something is drawn.

        Args:
            pipeline: The pipeline that draws.
            asset: The autoencoder; None for the model's own.

        Raises:
            EngineFailure: If it cannot be used with this model.
        """
        if asset is None:
            yield
            return
        pipeline.vae = self._get(asset)
        try:
            yield
        finally:
            pipeline.vae = self._own

    def _get(self, asset: Asset) -> Any:
        if self._kept is not None and self._kept[0] == asset.digest:
            return self._kept[1]
        weights = checked_weights(asset, VAE)
        if type(self._own).__name__ != _CLASS:
            raise EngineFailure("unsupported-request", "this model takes no other vae")
        # Before the next is read, for the memory's sake.
        self._kept = None
        try:
            loaded = self._load(asset, weights)
            self._check(asset, loaded)
            loaded = loaded.to(device=self._own.device, dtype=self._own.dtype).eval()
            # Whether it decodes picture by picture, which is a matter of the memory there is.
            loaded.use_slicing = self._own.use_slicing
        except EngineFailure:
            raise
        except Exception as error:
            raise_device_errors(error)
            raise broken(asset, f"{type(error).__name__}: {str(error)[:500]}") from error
        self._kept = (asset.digest, loaded)
        return loaded

    def _load(self, asset: Asset, weights: Weights) -> Any:
        from diffusers import AutoencoderKL

        if is_vae_of_checkpoint(weights.shapes):
            # It has no settings of its own, and so is of the model's kind or does not fit.
            return _of_checkpoint(AutoencoderKL.from_config(self._own.config), asset, weights)
        config = asset.directory / "config.json"
        if not config.is_file():
            raise broken(asset, "config.json is missing beside the weights")
        if json.loads(config.read_text("utf-8")).get("_class_name") != _CLASS:
            raise broken(asset, f"config.json is not that of an {_CLASS}")
        return AutoencoderKL.from_pretrained(
            str(asset.directory),
            torch_dtype=self._own.dtype,
            use_safetensors=True,
            local_files_only=True,
            variant="fp16" if weights.path.name.endswith(".fp16.safetensors") else None,
        )

    def _check(self, asset: Asset, loaded: Any) -> None:
        for setting, says in (
            ("latent_channels", "channels in its latent pictures"),
            ("block_out_channels", "levels"),
        ):
            theirs, own = (_count(each.config[setting]) for each in (loaded, self._own))
            if theirs != own:
                raise misfit(asset, f"it has {theirs} {says}, the model's own {own}")


def _count(value: Any) -> int:
    return value if isinstance(value, int) else len(value)


def _of_checkpoint(empty: Any, asset: Asset, weights: Weights) -> Any:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
    from safetensors.torch import load_file

    state = convert_ldm_vae_checkpoint(load_file(weights.path), empty.config)
    try:
        empty.load_state_dict(state)
    except RuntimeError as error:
        raise misfit(asset, " ".join(str(error).split())[:300]) from error
    return empty
