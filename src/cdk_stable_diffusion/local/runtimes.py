"""Read from the deployed manifests which agents there are to run, and how."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..contract import AgentEnvironment
from ..contract import template as marks
from ..contract.engines import DIFFUSERS
from ..contract.environment import variable_name
from .errors import LocalError

ENGINE_VARIABLES = (variable_name("engine_url"), variable_name("engine_directory"))
"""Where an engine is that runs already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Runtime:
    """A runtime of the app.

    Attributes:
        settings: What its agents are told.
    """

    settings: AgentEnvironment

    @property
    def name(self) -> str:
        """Its name."""
        return self.settings.runtime_name

    @property
    def lanes(self) -> int:
        """How many lanes it has."""
        return len(self.settings.lane_queue_urls) or 1

    def to_dict(self) -> dict[str, Any]:
        """Return what a client wants to know of it."""
        return {
            "name": self.name,
            "class": self.settings.runtime_class,
            "models": list(self.settings.models),
            "lanes": self.lanes,
        }


def find_runtimes(manifests: Iterable[Iterable[Mapping[str, Any]]]) -> list[Runtime]:
    """Return a runtime for every Deployment of agents.

    Args:
        manifests: The manifests, as deployed.

    Raises:
        LocalError: If there is none, or one cannot be read.
    """
    runtimes = [
        _runtime(each) for objects in manifests for each in objects if _is_agent_deployment(each)
    ]
    if not runtimes:
        raise LocalError("the app has no SdRuntime: there is no agent to run")
    return runtimes


def check_engines(runtimes: Sequence[Runtime], given: Mapping[str, str], *, workers: int) -> None:
    """Check that there is what the runtimes draw with.

    The containers of a pod other than the agent's are not run on this machine, so the engine of
    such a runtime must be running already.

    Args:
        runtimes: The runtimes.
        given: Variables that the user gives to the agents.
        workers: How many agents each runtime gets.

    Raises:
        LocalError: If an engine is not there, or more than one agent would use it.
    """
    chosen = given.get(variable_name("engine"))
    others = [each for each in runtimes if (chosen or each.settings.engine) != DIFFUSERS]
    if not others:
        return
    names = ", ".join(f"{each.name} ({each.settings.engine})" for each in others)
    missing = [each for each in ENGINE_VARIABLES if not given.get(each)]
    if missing:
        raise LocalError(
            f"runtimes draw with an engine in a container of its own: {names}. Start it yourself, "
            f"and say where it is: --set {' --set '.join(f'{each}=...' for each in missing)}; see "
            "docs/engines.md"
        )
    if len(others) * workers > 1:
        raise LocalError(
            f"an engine draws for one agent, and there would be {len(others) * workers}: {names}, "
            f"with {workers} for each"
        )


def _is_agent_deployment(manifest: Mapping[str, Any]) -> bool:
    labels = manifest.get("metadata", {}).get("labels", {})
    return (
        manifest.get("kind") == "Deployment"
        and labels.get(marks.APP_LABEL) == marks.APP_LABEL_VALUE
        and labels.get(marks.COMPONENT_LABEL) == marks.AGENT_COMPONENT
    )


def _runtime(manifest: Mapping[str, Any]) -> Runtime:
    name = manifest["metadata"].get("name", "?")
    containers = manifest["spec"]["template"]["spec"]["containers"]
    environment = {
        variable["name"]: variable["value"]
        for container in containers
        if container["name"] == marks.AGENT_CONTAINER
        for variable in container.get("env", ())
        if "value" in variable
    }
    try:
        return Runtime(settings=AgentEnvironment.from_environment(environment))
    except ValueError as error:
        raise LocalError(f"Deployment {name}: {error}") from None
