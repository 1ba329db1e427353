"""The contract's scheduler names in terms of diffusers."""

from __future__ import annotations

from typing import Any

_CLASSES: dict[str, tuple[str, dict[str, Any]]] = {
    "ddim": ("DDIMScheduler", {}),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", {}),
    "dpmpp_2m_karras": ("DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    "euler": ("EulerDiscreteScheduler", {}),
    "euler_ancestral": ("EulerAncestralDiscreteScheduler", {}),
    "heun": ("HeunDiscreteScheduler", {}),
    "lcm": ("LCMScheduler", {}),
    "pndm": ("PNDMScheduler", {}),
    "unipc": ("UniPCMultistepScheduler", {}),
}


def make_scheduler(own: Any, name: str | None) -> Any:
    """Make the scheduler of one generation; schedulers keep state, so none is used twice.

    Args:
        own: The scheduler that came with the model. Its settings (noise schedule, prediction type,
            terminal signal-to-noise ratio, spacing) are kept.
        name: Name from `contract.SCHEDULERS`, or None for the model's own kind.

    Returns:
        A new scheduler.
    """
    if name is None:
        return type(own).from_config(own.config)
    import diffusers

    class_name, settings = _CLASSES[name]
    return getattr(diffusers, class_name).from_config(own.config, **settings)
