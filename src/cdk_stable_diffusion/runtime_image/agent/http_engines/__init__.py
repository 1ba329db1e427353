"""Engines in another container of the pod, by their HTTP APIs."""

from __future__ import annotations

from pathlib import Path

from ....contract import AgentEnvironment
from ....contract.engines import SDWEBUI
from .comfyui import ComfyUi
from .http_engine import HttpEngine
from .sdwebui import SdWebui

__all__ = ["ComfyUi", "HttpEngine", "SdWebui", "engine_for"]


def engine_for(environment: AgentEnvironment) -> HttpEngine:
    """Return the engine that an agent is told to use.

    Args:
        environment: The agent's settings.
    """
    kind = SdWebui if environment.engine == SDWEBUI else ComfyUi
    return kind(environment.engine_url, Path(environment.engine_directory))
