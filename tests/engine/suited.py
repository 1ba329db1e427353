"""Schedulers that suit a model, among those of the contract."""

from __future__ import annotations

import pytest

from cdk_stable_diffusion.contract import SCHEDULERS
from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion

NOISE_SCHEDULERS = tuple(name for name in SCHEDULERS if name != "flow_match_euler")
"""Those of models that predict noise."""

STEPPERS = tuple(
    name for name in NOISE_SCHEDULERS if not name.endswith(("_karras", "_exponential"))
)
"""Those of them that step in different ways, rather than at different levels of noise."""

WITHOUT_ZERO_SNR = frozenset({"dpmpp_sde", "dpmpp_sde_karras", "heun", "heun_karras", "pndm"})
"""Those of them that cannot begin with pure noise."""


def suit(diffusion: Diffusion, scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a model that begins with pure noise one that does not, where a scheduler needs that.

    Args:
        diffusion: Holds the model.
        scheduler: The scheduler's name.
        monkeypatch: Undoes it.
    """
    if scheduler in WITHOUT_ZERO_SNR:
        model = diffusion._model()
        own = model.own_scheduler
        plain = type(own).from_config(own.config, rescale_betas_zero_snr=False)
        monkeypatch.setattr(model, "own_scheduler", plain)
