"""What makes a runtime's pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .._validation import A_WHOLE_NUMBER, Faults, is_token, shown
from ..contract.engines import COMFYUI, DIFFUSERS, ENGINE_PORTS, SDWEBUI
from .image import RuntimeImage

_PATH = re.compile(r"(?:/[A-Za-z0-9._-]+)+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_RESERVED_PORTS = (8080,)
"""The agent's probes: containers of a pod share their ports."""


@dataclass(frozen=True, slots=True)
class Engine:
    """What makes a runtime's pictures; made by one of its factories.

    Attributes:
        name: "diffusers", "sdwebui" or "comfyui".
        image: Image of the engine's own container; None for diffusers.
        home: Directory of the program in that image.
        port: Where it listens, on 127.0.0.1.
        command: What the container runs; None for what its image says.
        environment: Environment variables of the container.
    """

    name: str
    image: RuntimeImage | None = None
    home: str = ""
    port: int = 0
    command: tuple[str, ...] | None = None
    environment: tuple[tuple[str, str], ...] = ()

    @classmethod
    def diffusers(cls) -> Engine:
        """Draw with diffusers, which is in the agent's own image.

        Returns:
            The choice.
        """
        return cls(DIFFUSERS)

    @classmethod
    def sdwebui(
        cls,
        *,
        image: RuntimeImage,
        home: str = "/opt/stable-diffusion-webui",
        port: int | None = None,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Engine:
        """Draw with Stable Diffusion web UI, in a container of its own beside the agent.

        Models are single ``.safetensors`` checkpoints. The container must meet what
        ``docs/engines.md`` says; above all, it runs as user 10001, and the web UI is started with
        ``--api``.

        Args:
            image: Image of the container, which you build.
            home: Directory of the web UI in it. Default: ``/opt/stable-diffusion-webui``.
            port: Where it listens, on 127.0.0.1. Default: 7860.
            command: What the container runs. Default: what its image says.
            environment: Environment variables of the container; no place for secrets. Default:
                none.

        Returns:
            The choice.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        return cls._in_a_container(
            SDWEBUI,
            image=image,
            home=home,
            port=port,
            command=command,
            environment=environment,
        )

    @classmethod
    def comfyui(
        cls,
        *,
        image: RuntimeImage,
        home: str = "/opt/ComfyUI",
        port: int | None = None,
        command: Sequence[str] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Engine:
        """Draw with ComfyUI, in a container of its own beside the agent.

        Models are workflows with the weights that they name. The container must meet what
        ``docs/engines.md`` says; above all, it runs as user 10001.

        Args:
            image: Image of the container, which you build.
            home: Directory of ComfyUI in it. Default: ``/opt/ComfyUI``.
            port: Where it listens, on 127.0.0.1. Default: 8188.
            command: What the container runs. Default: what its image says.
            environment: Environment variables of the container; no place for secrets. Default:
                none.

        Returns:
            The choice.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        return cls._in_a_container(
            COMFYUI,
            image=image,
            home=home,
            port=port,
            command=command,
            environment=environment,
        )

    @property
    def url(self) -> str:
        """Where it listens; empty for diffusers."""
        return f"http://127.0.0.1:{self.port}" if self.image is not None else ""

    @property
    def models_directory(self) -> str:
        """Where its container has the models that the agent shows it."""
        models = f"{self.home}/models"
        return f"{models}/Stable-diffusion" if self.name == SDWEBUI else models

    @property
    def file_directories(self) -> Mapping[str, str]:
        """Where its container has directories that it shares with the agent, by their names."""
        if self.name != COMFYUI:
            return {}
        return {name: f"{self.home}/{name}" for name in ("input", "output", "temp")}

    @classmethod
    def _in_a_container(
        cls,
        name: str,
        *,
        image: RuntimeImage,
        home: str,
        port: int | None,
        command: Sequence[str] | None,
        environment: Mapping[str, str] | None,
    ) -> Engine:
        faults = Faults()
        hint = "a RuntimeImage, such as RuntimeImage.from_registry('registry/name@sha256:...')"
        if faults.check_type("image", image, RuntimeImage, hint):
            faults.check(
                image.uri is not None or image.own_build is not None,
                f"image is RuntimeImage.from_package(), which has no {name} in it: "
                "RuntimeImage.from_registry(...) or RuntimeImage.from_directory(...)",
            )
        hint = "a directory in the image, such as '/opt/ComfyUI'"
        if faults.check_type("home", home, str, hint):
            faults.check(
                _PATH.fullmatch(home) is not None and ".." not in home.split("/"),
                f"home is {shown(home)}: {hint}",
            )
        if faults.check_type("port", port, int, A_WHOLE_NUMBER, optional=True):
            faults.check(
                port is not None and 1_024 <= port <= 65_535 and port not in _RESERVED_PORTS,
                f"port is {port}: 1024 to 65535, and not 8080, where the agent's probes are",
            )
        hint = "words, such as ['python', 'main.py']"
        if faults.check_type("command", command, (list, tuple), hint, optional=True):
            assert command is not None
            words = all(isinstance(word, str) and word for word in command)
            faults.check(bool(command) and words, f"command is {shown(command)}: {hint}")
        hint = "text by name, such as {'COMMANDLINE_ARGS': '--api'}"
        if faults.check_type("environment", environment, Mapping, hint, optional=True):
            for variable, value in (environment or {}).items():
                faults.check(
                    isinstance(variable, str)
                    and _VARIABLE.fullmatch(variable) is not None
                    and (isinstance(value, str) or is_token(value)),
                    f"environment[{variable!r}] is {shown(value)}: text, by a variable's name",
                )
        faults.raise_if_any(f"Engine.{name}")
        return cls(
            name,
            image=image,
            home=home,
            port=ENGINE_PORTS[name] if port is None else port,
            command=None if command is None else tuple(command),
            environment=tuple(sorted((environment or {}).items())),
        )
