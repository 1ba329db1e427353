"""What can make pictures."""

from __future__ import annotations

from urllib.parse import urlsplit

DIFFUSERS = "diffusers"
"""The agent's own engine, in a process beside it."""

SDWEBUI = "sdwebui"
"""Stable Diffusion web UI by its HTTP API, in a container beside the agent."""

COMFYUI = "comfyui"
"""ComfyUI by its HTTP and WebSocket API, in a container beside the agent."""

ENGINES = (DIFFUSERS, SDWEBUI, COMFYUI)

ENGINE_PORTS = {SDWEBUI: 7860, COMFYUI: 8188}
"""Where the engines listen unless they are told otherwise."""

REPLACE_NAME = ".replace"
"""File in the directory of the engine's models by which the agent asks for a new engine."""


def is_engine_url(url: str) -> bool:
    """Tell whether an engine can be there: on this machine alone, by its address and port."""
    try:
        parts = urlsplit(url)
        return (
            parts.scheme == "http"
            and parts.hostname in ("127.0.0.1", "localhost", "::1")
            and parts.port is not None
            and parts.username is None
            and parts.path in ("", "/")
            and not (parts.query or parts.fragment)
        )
    except ValueError:
        return False
