"""The pods: what they may do, where they run, and how many may go at a time."""

from __future__ import annotations

from typing import Any

import pytest

from cdk_stable_diffusion.cluster import Priority
from cdk_stable_diffusion.local.runtimes import find_runtimes
from cdk_stable_diffusion.runtime import Capacity, GpuNodes, Scaling, SdNodePool
from tests.manifests.graph import DependencyGraph
from tests.manifests.template import manifest_of, manifests_of
from tests.unit.runtime.light_cluster import light_service, spec_of


def pod(**arguments: Any) -> dict[str, Any]:
    """Return the spec of a runtime's pods."""
    service = light_service()
    service.add_runtime("Sdxl", **arguments)
    return dict(spec_of("Deployment", "sdxl", service.template())["template"]["spec"])


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return pod()


class TestRestricted:
    """Every control of the Pod Security Standard "restricted", which the namespace enforces."""

    def test_shares_nothing_with_the_node(self, spec: dict[str, Any]) -> None:
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        for container in spec["containers"]:
            assert all("hostPort" not in port for port in container["ports"])

    def test_mounts_only_scratch_space(self, spec: dict[str, Any]) -> None:
        assert all(set(volume) == {"name", "emptyDir"} for volume in spec["volumes"])

    def test_is_not_root_and_cannot_become_it(self, spec: dict[str, Any]) -> None:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "privileged" not in context

    def test_has_the_runtimes_seccomp_profile(self, spec: dict[str, Any]) -> None:
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}

    def test_has_a_root_that_nobody_writes_to(self, spec: dict[str, Any]) -> None:
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True

    def test_knows_nothing_of_the_cluster(self, spec: dict[str, Any]) -> None:
        assert spec["automountServiceAccountToken"] is False
        assert spec["enableServiceLinks"] is False


class TestPriority:
    @pytest.mark.parametrize("priority", Priority)
    def test_is_the_runtimes(self, priority: Priority) -> None:
        assert pod(priority=priority)["priorityClassName"] == priority.class_name

    def test_is_normal_by_default(self) -> None:
        assert pod()["priorityClassName"] == "stable-diffusion-normal"


class TestDisk:
    def test_asks_for_its_caches(self) -> None:
        (container,) = pod(model_cache_gibibytes=200)["containers"]
        assert container["resources"]["requests"]["ephemeral-storage"] == "224Gi"

    def test_asks_for_its_own_part_of_a_shared_node(self) -> None:
        (container,) = pod(nodes=GpuNodes(gpus_per_node=4))["containers"]
        assert container["resources"]["requests"]["ephemeral-storage"] == "114Gi"
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}


class TestDisruptionBudget:
    def test_lets_drained_nodes_take_a_quarter_of_the_pods(self) -> None:
        service = light_service()
        runtime = service.add_runtime("Sdxl", nodes=GpuNodes(capacity=Capacity.ON_DEMAND))
        assert runtime.pod_disruption_budget is not None
        template = service.template()
        found = manifest_of("PodDisruptionBudget", "sdxl", template)
        assert found["metadata"]["namespace"] == "stable-diffusion"
        assert found["spec"] == {
            "selector": spec_of("Deployment", "sdxl", template)["selector"],
            "maxUnavailable": "25%",
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        }

    @pytest.mark.parametrize("capacity", [Capacity.SPOT, Capacity.SPOT_THEN_ON_DEMAND])
    def test_holds_no_notice_of_a_spot_interruption_back(self, capacity: Capacity) -> None:
        service = light_service()
        runtime = service.add_runtime("Sdxl", nodes=GpuNodes(capacity=capacity))
        assert runtime.pod_disruption_budget is None
        kinds = {each["kind"] for each in manifests_of(service.template())}
        assert "PodDisruptionBudget" not in kinds

    def test_does_not_keep_the_only_pod(self) -> None:
        runtime = light_service().add_runtime(
            nodes=GpuNodes(capacity=Capacity.ON_DEMAND), scaling=Scaling(max_replicas=1)
        )
        assert runtime.pod_disruption_budget is None

    def test_goes_by_the_nodes_that_are_shared(self) -> None:
        service = light_service()
        nodes = GpuNodes(max_gpus=4, capacity=Capacity.ON_DEMAND)
        pool = SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=nodes)
        assert service.add_runtime("Sdxl", nodes=pool).pod_disruption_budget is not None

    def test_is_deleted_before_the_pods(self) -> None:
        service = light_service()
        service.add_runtime("Sdxl", nodes=GpuNodes(capacity=Capacity.ON_DEMAND))
        graph = DependencyGraph(service.template())
        assert graph.named("Sdxl/Deployment") in graph.waits_for(
            graph.named("Sdxl/PodDisruptionBudget")
        )


class TestOrder:
    @pytest.mark.parametrize(
        ("user", "needed"),
        [
            ("Sdxl/Deployment", "Cluster/BeforePods"),
            ("Sdxl/ServiceAccount", "Cluster/BeforePods"),
            ("Sdxl/Pool/NodeClass", "Cluster/BeforeNodes"),
            ("Sdxl/ScaledObject", "Cluster/BeforeScaling"),
            ("Sdxl/TriggerAuthentication", "Cluster/BeforeScaling"),
        ],
    )
    def test_waits_for_what_the_cluster_says(self, user: str, needed: str) -> None:
        service = light_service()
        service.add_runtime("Sdxl")
        graph = DependencyGraph(service.template())
        assert graph.named(needed) in graph.waits_for(graph.named(user))


def test_the_local_service_can_read_the_pods_of_every_kind_of_pool() -> None:
    service = light_service()
    pool = SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=GpuNodes(max_gpus=2))
    service.add_runtime("Own")
    service.add_runtime("Sharing", nodes=pool, priority=Priority.LOW)
    found = find_runtimes([manifests_of(service.template())])
    assert {each.name for each in found} == {"own", "sharing"}
