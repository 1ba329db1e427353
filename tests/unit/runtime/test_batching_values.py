"""Whether tasks share forward passes: what is refused, and what the agents are told."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_stable_diffusion.contract.environment import AgentEnvironment
from cdk_stable_diffusion.runtime import Batching, Engine, RuntimeImage
from tests.unit.runtime.light_cluster import light_service, spec_of


def _environment(**arguments: Any) -> dict[str, Any]:
    """Return the environment that a runtime's agents are given."""
    service = light_service()
    service.add_runtime("Sdxl", **arguments)
    pod = spec_of("Deployment", "sdxl", service.template())["template"]["spec"]
    (container,) = pod["containers"]
    return {each["name"]: each["value"] for each in container["env"]}


@pytest.mark.parametrize("tasks", [2, 8, 16])
def test_an_agent_is_told_how_many_tasks_share_a_pass(tasks: int) -> None:
    environment = _environment(batching=Batching.up_to(tasks))
    assert environment["SD_BATCH_TASKS"] == str(tasks)
    read = {name: value for name, value in environment.items() if isinstance(value, str)}
    needed = {name: "x" for name in environment.keys() - read.keys()}
    assert AgentEnvironment.from_environment({**needed, **read}).batch_tasks == tasks


def test_each_task_is_alone_by_default() -> None:
    assert "SD_BATCH_TASKS" not in _environment()
    assert "SD_BATCH_TASKS" not in _environment(batching=Batching.off())
    assert Batching.off().tasks == 1


@pytest.mark.parametrize(
    ("tasks", "says"),
    [
        (1, r"tasks is 1: 2 to 16; Batching.off\(\) is 1"),
        (17, "tasks is 17: 2 to 16"),
        (True, "tasks is True: a whole number"),
        ("4", "tasks is '4': a whole number"),
    ],
)
def test_other_numbers_are_refused(tasks: Any, says: str) -> None:
    with pytest.raises(ValueError, match=f"Batching: {says}"):
        Batching.up_to(tasks)


@pytest.mark.parametrize("tasks", [0, 17, 99])
def test_no_other_way_leads_to_a_wrong_one(tasks: int) -> None:
    with pytest.raises(ValueError, match=f"Batching: tasks is {tasks}: 2 to 16"):
        Batching(tasks)


@pytest.mark.parametrize("tasks", ["0", "17", "many"])
def test_an_agent_refuses_them_too(tasks: str) -> None:
    with pytest.raises(ValueError, match="SD_BATCH_TASKS must be"):
        environment = {name: str(value) for name, value in _environment().items()}
        AgentEnvironment.from_environment({**environment, "SD_BATCH_TASKS": tasks})


def test_another_engine_shares_no_passes() -> None:
    engine = Engine.comfyui(image=RuntimeImage.from_registry("registry/comfyui@sha256:" + 64 * "0"))
    service = light_service()
    says = r"batching is Batching.up_to\(4\), and comfyui draws one task after the other"
    with pytest.raises(ValueError, match=says):
        service.add_runtime("Any", engine=engine, batching=Batching.up_to(4))
    service.add_runtime("Any", engine=engine, batching=Batching.off())
