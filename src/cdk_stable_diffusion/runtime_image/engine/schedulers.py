"""The contract's scheduler names in terms of diffusers."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

from .failure import EngineFailure

_SDE: dict[str, Any] = {"algorithm_type": "sde-dpmsolver++"}
_KARRAS: dict[str, Any] = {"use_karras_sigmas": True}
_EXPONENTIAL: dict[str, Any] = {"use_exponential_sigmas": True}
# The last step must be of first order where it ends without noise.
_SINGLE_STEP: dict[str, Any] = {"lower_order_final": True}

_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_exponential": ("DPMSolverMultistepScheduler", _EXPONENTIAL),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", _KARRAS),
    "dpmpp_2m_sde": ("DPMSolverMultistepScheduler", _SDE),
    "dpmpp_2m_sde_exponential": ("DPMSolverMultistepScheduler", {**_SDE, **_EXPONENTIAL}),
    "dpmpp_2m_sde_karras": ("DPMSolverMultistepScheduler", {**_SDE, **_KARRAS}),
    "dpmpp_sde": ("DPMSolverSinglestepScheduler", _SINGLE_STEP),
    "dpmpp_sde_karras": ("DPMSolverSinglestepScheduler", {**_SINGLE_STEP, **_KARRAS}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "euler_exponential": ("EulerDiscreteScheduler", _EXPONENTIAL),
    "euler_karras": ("EulerDiscreteScheduler", _KARRAS),
    "flow_match_euler": ("FlowMatchEulerDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "heun_karras": ("HeunDiscreteScheduler", _KARRAS),
    "lcm": ("LCMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
    "unipc_karras": ("UniPCMultistepScheduler", _KARRAS),
}
_FLOW = "flow_match_euler"
_ZERO_SNR = "rescale_betas_zero_snr"

# What a name does not say is off, whatever the model's own scheduler has.
_SPACINGS: dict[str, Any] = {
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}


def make_scheduler(own: Any, name: str | None) -> Any:
    """Make the scheduler of one generation; schedulers keep state, so none is used twice.

    Args:
        own: The scheduler that came with the model. Its settings (noise schedule, prediction type,
            terminal signal-to-noise ratio, spacing) are kept.
        name: Name from `contract.SCHEDULERS`, or None for the model's own kind.

    Returns:
        A new scheduler.

    Raises:
        EngineFailure: If the model was not made for it.
    """
    if name is None:
        return type(own).from_config(own.config)
    import diffusers

    class_name, settings = _CLASSES[name]
    chosen = getattr(diffusers, class_name)
    _check(own, name, chosen)
    return chosen.from_config(own.config, **{**_taken(chosen, _SPACINGS), **settings})


def scheduler_from(directory: Path) -> Any:
    """Return the scheduler that a folder's configuration describes.

    Args:
        directory: Holds ``scheduler_config.json``.

    Raises:
        EngineFailure: If it is of a class that is not on the list.
    """
    import diffusers

    try:
        config = json.loads((directory / "scheduler_config.json").read_text("utf-8"))
        class_name = config["_class_name"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EngineFailure(
            "model-invalid", f"scheduler/scheduler_config.json cannot be read: {error}"
        ) from None
    known = sorted({name for name, _ in _CLASSES.values()})
    if class_name not in known:
        raise EngineFailure(
            "model-invalid",
            f"scheduler class {str(class_name)[:64]!r} is not supported; supported: "
            f"{', '.join(known)}",
        )
    return getattr(diffusers, class_name).from_config(config)


def is_flow_matching(own: Any) -> bool:
    """Tell whether a model's own scheduler is one of flow matching."""
    return type(own).__name__.startswith("FlowMatch")


def _check(own: Any, name: str, chosen: Any) -> None:
    if is_flow_matching(own) != (name == _FLOW):
        takes = (
            f"takes {_FLOW} alone" if is_flow_matching(own) else "does not draw by flow matching"
        )
        raise EngineFailure("unsupported-request", f"scheduler {name} is not for it: model {takes}")
    if own.config.get(_ZERO_SNR) and not _taken(chosen, {_ZERO_SNR: True}):
        able = sorted(
            each for each in _CLASSES if each != _FLOW and _taken(_class(each), {_ZERO_SNR: True})
        )
        raise EngineFailure(
            "unsupported-request",
            f"scheduler {name} cannot begin with pure noise, as this model was trained to (zero "
            f"terminal signal-to-noise ratio); these can: {', '.join(able)}",
        )


def _class(name: str) -> Any:
    import diffusers

    return getattr(diffusers, _CLASSES[name][0])


def _taken(chosen: Any, settings: dict[str, Any]) -> dict[str, Any]:
    taken = inspect.signature(chosen.__init__).parameters
    return {key: value for key, value in settings.items() if key in taken}
