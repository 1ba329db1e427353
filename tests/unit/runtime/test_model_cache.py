"""What the pods of a runtime keep of models."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_stable_diffusion import Engine, Model, ModelCache, RuntimeImage
from cdk_stable_diffusion.contract import AgentEnvironment
from tests.manifests.template import manifest_of
from tests.unit.runtime.light_cluster import light_service

OTHER = RuntimeImage.from_registry(f"registry.example/engine@sha256:{'1' * 64}")


def agent_of(model: Model, **arguments: Any) -> dict[str, Any]:
    service = light_service()
    service.add_runtime("Any", model, **arguments)
    deployment = manifest_of("Deployment", "any", service.template())
    (agent,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(agent)


def settings_of(agent: dict[str, Any]) -> AgentEnvironment:
    return AgentEnvironment.from_environment({each["name"]: each["value"] for each in agent["env"]})


def test_memory_for_models_is_asked_for_besides_and_told_to_the_agent() -> None:
    agent = agent_of(Model.dynamic(cache=ModelCache(memory_gibibytes=16)))
    assert settings_of(agent).memory_cache_bytes == 16 * 2**30
    assert agent["resources"]["requests"]["memory"] == "26Gi"
    # What is left on the node caches the files of models.
    assert "memory" not in agent["resources"]["limits"]


@pytest.mark.parametrize("model", [Model.dynamic(), Model.static("a"), Model.dynamic(lanes=1)])
def test_by_default_no_model_is_kept_in_memory(model: Model) -> None:
    agent = agent_of(model)
    assert settings_of(agent).memory_cache_bytes == 0
    assert agent["resources"]["requests"]["memory"] == "10Gi"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (-1, "memory_gibibytes is -1: 0 to 1024"),
        (1_025, "memory_gibibytes is 1025: 0 to 1024"),
        (1.5, "memory_gibibytes is 1.5: a whole number"),
        (True, "memory_gibibytes is True: a whole number"),
    ],
)
def test_a_wrong_size_is_refused(value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        ModelCache(memory_gibibytes=value)


def test_anything_else_is_refused_with_all_that_is_wrong() -> None:
    cache: Any = 16
    with pytest.raises(ValueError) as caught:
        Model.dynamic(lanes=0, cache=cache)
    assert "cache is 16: a ModelCache, such as ModelCache(memory_gibibytes=8)" in str(caught.value)
    assert "lanes is 0" in str(caught.value)


def test_other_engines_keep_what_they_like() -> None:
    service = light_service()
    engine = Engine.comfyui(image=OTHER)
    model = Model.dynamic(cache=ModelCache(memory_gibibytes=1))
    with pytest.raises(ValueError, match=r"ModelCache\(memory_gibibytes=1\), and comfyui keeps"):
        service.add_runtime("Any", model, engine=engine)
    service.add_runtime("Any", Model.dynamic(cache=ModelCache()), engine=engine)
