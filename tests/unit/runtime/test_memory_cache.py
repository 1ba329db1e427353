"""What the pods of a runtime keep of models."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_stable_diffusion import (
    Engine,
    GpuNodes,
    Model,
    ModelCache,
    RuntimeImage,
    SdNodePool,
)
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


@pytest.mark.parametrize(
    ("gibibytes", "nodes", "says"),
    [
        (200, GpuNodes(), "a pod asks for 210 GiB in all, and nodes of g5, g6, g6e, gr6 with"),
        (50, GpuNodes(families=("g5", "g6")), "at most 16 vCPUs have less than 60 GiB for pods"),
        (
            50,
            GpuNodes(families=("g5",), gpus_per_node=4, max_vcpus=48),
            "the 4 pods of a node ask for 240 GiB in all, and nodes of g5 with at most 48 vCPUs "
            "have less than 178 GiB",
        ),
    ],
)
def test_more_than_any_node_has_is_refused(gibibytes: int, nodes: GpuNodes, says: str) -> None:
    model = Model.dynamic(cache=ModelCache(memory_gibibytes=gibibytes))
    service = light_service()
    with pytest.raises(ValueError) as caught:
        service.add_runtime("Any", model, nodes=nodes)
    assert says in str(caught.value)
    assert f"model.cache has memory_gibibytes {gibibytes}, so" in str(caught.value)


@pytest.mark.parametrize(
    ("gibibytes", "nodes"),
    [
        (64, GpuNodes()),
        (40, GpuNodes(families=("g6",))),
        (200, GpuNodes(max_vcpus=32)),
        (200, GpuNodes(families=("g6", "g99"))),
        (60, GpuNodes(families=("p4d",), gpus_per_node=8)),
        (0, GpuNodes(families=("g5",), max_vcpus=4)),
    ],
)
def test_what_some_node_may_have_is_taken(gibibytes: int, nodes: GpuNodes) -> None:
    model = Model.dynamic(cache=ModelCache(memory_gibibytes=gibibytes))
    assert light_service().add_runtime("Any", model, nodes=nodes).model is model


def test_of_shared_nodes_one_must_have_room_for_one_pod() -> None:
    service = light_service()
    nodes = GpuNodes(families=("g5",), gpus_per_node=4, max_gpus=4)
    pool = SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=nodes)
    too_much = Model.dynamic(cache=ModelCache(memory_gibibytes=400))
    with pytest.raises(ValueError, match="a pod asks for 410 GiB in all"):
        service.add_runtime("Any", too_much, nodes=pool)
    service.add_runtime("Any", Model.dynamic(cache=ModelCache(memory_gibibytes=150)), nodes=pool)
