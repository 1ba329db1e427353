"""Every Kubernetes resource is valid, whatever the arguments."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdk_stable_diffusion.cluster import Compute, Priority
from cdk_stable_diffusion.cluster.manifest import namespace
from cdk_stable_diffusion.contract.names import is_runtime_name
from cdk_stable_diffusion.runtime import Engine, GpuNodes, ModelCache, Scaling
from cdk_stable_diffusion.runtime.disk import DiskUse
from cdk_stable_diffusion.runtime.engine_container import EngineContainer
from cdk_stable_diffusion.runtime.node_class import node_class
from cdk_stable_diffusion.runtime.node_pool import node_pool
from cdk_stable_diffusion.runtime.timing import Timing
from cdk_stable_diffusion.runtime.workload import Workload
from tests.manifests.compose import quickstart
from tests.manifests.strategies import (
    COMPUTES,
    DISK_USES,
    ENGINES,
    NAMES,
    PRIORITIES,
    TIMINGS,
    gpu_nodes,
    runtimes,
    scalings,
)
from tests.manifests.template import manifests_of
from tests.manifests.validator import faults_of
from tests.unit.runtime.light_cluster import light_service

# One hundred sets of arguments of nodes, as many of a workload, and some of whole runtimes.
PURE = settings(max_examples=100)
SYNTHESISED = settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow], database=None)


def test_each_is_applied_by_itself_and_without_pruning() -> None:
    applied = [
        each["Properties"]
        for each in quickstart()["Resources"].values()
        if each["Type"] == "Custom::AWSCDK-EKS-KubernetesResource"
    ]
    assert len(applied) == len(manifests_of(quickstart()))
    assert all(each["Overwrite"] is True for each in applied)
    assert not any("PruneLabel" in each for each in applied)


@PURE
@given(
    name=NAMES,
    compute=COMPUTES,
    data=st.data(),
    use=DISK_USES,
    profile=st.sampled_from([None, "profile"]),
    max_gpus=st.integers(1, 1_000),
)
def test_nodes_are_valid(
    name: str,
    compute: Compute,
    data: st.DataObject,
    use: DiskUse,
    profile: str | None,
    max_gpus: int,
) -> None:
    assert is_runtime_name(name)
    nodes: GpuNodes = data.draw(gpu_nodes(snapshot=not compute.is_auto_mode))
    made = [
        node_class(
            name,
            compute=compute,
            nodes=nodes,
            role="role",
            instance_profile=profile,
            subnet_ids=["subnet-0a", "subnet-0b"],
            security_group_id="sg-0a",
            use=use,
        ),
        node_pool(name, compute=compute, nodes=nodes, max_gpus=max_gpus, use=use),
    ]
    assert [fault for each in made for fault in faults_of(each)] == []


@PURE
@given(
    name=NAMES,
    scaling=scalings(),
    timing=TIMINGS,
    priority=PRIORITIES,
    use=DISK_USES,
    environment=st.dictionaries(
        st.from_regex(r"SD_[A-Z_]{1,20}", fullmatch=True), st.text(max_size=50), max_size=5
    ),
    engine=ENGINES,
    cache=st.builds(ModelCache, memory_gibibytes=st.integers(0, 1_024)),
)
def test_workload_is_valid(
    name: str,
    scaling: Scaling,
    timing: Timing,
    priority: Priority,
    use: DiskUse,
    environment: dict[str, str],
    engine: Engine,
    cache: ModelCache,
) -> None:
    workload = Workload(name=name, namespace="stable-diffusion")
    made: list[dict[str, Any]] = [
        workload.service_account(),
        workload.trigger_authentication(),
        workload.pod_disruption_budget(),
        workload.deployment(
            image="registry.example/agent@sha256:abc",
            environment=environment,
            pool=name,
            priority=priority,
            grace_seconds=timing.pod_grace_seconds,
            use=use,
            cache=cache,
            engine=(
                None
                if engine.image is None
                else EngineContainer(engine=engine, image=str(engine.image.uri))
            ),
        ),
        workload.scaled_object(
            scaling=scaling,
            queue_urls=["https://sqs.eu-west-1.amazonaws.com/123456789012/queue"],
            region="eu-west-1",
        ),
    ]
    assert [fault for each in made for fault in faults_of(each)] == []


@SYNTHESISED
@given(arguments=st.lists(runtimes(), min_size=2, max_size=3))
def test_runtimes_are_valid(arguments: list[dict[str, Any]]) -> None:
    service = light_service()
    for index, given_ in enumerate(arguments):
        service.add_runtime(f"Runtime{index}", **given_)
    manifests = manifests_of(service.template())
    assert [fault for each in manifests for fault in faults_of(each)] == []
    assert len({(each["kind"], each["metadata"]["name"]) for each in manifests}) == len(manifests)


def test_priorities_and_namespaces_are_valid() -> None:
    made = [
        *(priority.manifest() for priority in Priority),
        *(namespace("stable-diffusion", pod_security=each) for each in ("restricted", "baseline")),
    ]
    assert [fault for each in made for fault in faults_of(each)] == []
