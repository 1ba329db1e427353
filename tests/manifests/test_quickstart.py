"""What the quickstart has in its cluster, and how it behaves there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.manifests.compose import quickstart
from tests.manifests.pod_security import restricted_faults
from tests.manifests.template import manifest_of, manifests_of
from tests.manifests.validator import faults_of

OF_EACH_RUNTIME = (
    "Deployment",
    "EC2NodeClass",
    "NodePool",
    "ScaledObject",
    "ServiceAccount",
    "TriggerAuthentication",
)


def spec_of(kind: str) -> dict[str, Any]:
    return dict(manifest_of(kind, "tiny-shapes", quickstart())["spec"])


def test_is_valid() -> None:
    faults = {
        f"{each['kind']} {each['metadata']['name']}": faults_of(each)
        for each in manifests_of(quickstart())
    }
    assert {name: found for name, found in faults.items() if found} == {}


def test_each_runtime_has_all_it_needs() -> None:
    found = [(each["kind"], each["metadata"]["name"]) for each in manifests_of(quickstart())]
    for name in ("any-model", "tiny-shapes"):
        assert sorted(kind for kind, each in found if each == name) == sorted(OF_EACH_RUNTIME)


def test_pods_meet_what_their_namespace_asks_for() -> None:
    asked = {
        each["metadata"]["name"]: each["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for each in manifests_of(quickstart())
        if each["kind"] == "Namespace"
    }
    assert asked["stable-diffusion"] == "restricted"
    for each in manifests_of(quickstart()):
        if each["kind"] == "Deployment":
            assert asked[each["metadata"]["namespace"]] == "restricted"
            assert restricted_faults(each["spec"]["template"]["spec"]) == []


class TestDeployment:
    @pytest.fixture
    def pod(self) -> dict[str, Any]:
        return dict(spec_of("Deployment")["template"]["spec"])

    @pytest.fixture
    def agent(self, pod: dict[str, Any]) -> dict[str, Any]:
        (container,) = pod["containers"]
        return dict(container)

    def test_leaves_replicas_to_the_scaler(self) -> None:
        assert "replicas" not in spec_of("Deployment")

    def test_replaces_pods_without_a_second_node(self) -> None:
        update = spec_of("Deployment")["strategy"]["rollingUpdate"]
        assert update == {"maxSurge": 0, "maxUnavailable": 1}

    def test_selects_its_own_pods(self) -> None:
        spec = spec_of("Deployment")
        assert (
            spec["selector"]["matchLabels"]
            == spec["template"]["metadata"]["labels"]
            == {
                "app.kubernetes.io/name": "cdk-stable-diffusion",
                "app.kubernetes.io/component": "agent",
                "sd.runtime/name": "tiny-shapes",
            }
        )

    def test_has_time_to_drain(self, pod: dict[str, Any], agent: dict[str, Any]) -> None:
        drain = next(each for each in agent["env"] if each["name"] == "SD_DRAIN_SECONDS")
        assert pod["terminationGracePeriodSeconds"] == int(drain["value"]) + 30

    def test_has_one_gpu(self, agent: dict[str, Any]) -> None:
        assert agent["resources"]["limits"] == {"nvidia.com/gpu": "1"}

    def test_is_probed(self, agent: dict[str, Any]) -> None:
        assert agent["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
        assert agent["startupProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
        assert agent["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8080}

    def test_cache_is_full_before_the_pod_is_evicted(
        self, pod: dict[str, Any], agent: dict[str, Any]
    ) -> None:
        environment = {each["name"]: each["value"] for each in agent["env"]}
        sizes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"]}
        limit = int(sizes["model-cache"].removesuffix("Gi")) * 1024**3
        assert int(environment["SD_MODEL_CACHE_BYTES"]) < limit


class TestScaledObject:
    def test_scales_the_deployment_to_zero(self) -> None:
        spec = spec_of("ScaledObject")
        assert spec["scaleTargetRef"]["name"] == "tiny-shapes"
        assert spec["minReplicaCount"] == 0
        assert spec["maxReplicaCount"] == 10

    def test_counts_running_tasks(self) -> None:
        (trigger,) = spec_of("ScaledObject")["triggers"]
        assert trigger["metadata"]["scaleOnInFlight"] == "true"

    def test_gives_a_pod_as_many_tasks_as_the_target_allows(self) -> None:
        (trigger,) = spec_of("ScaledObject")["triggers"]
        assert trigger["metadata"]["queueLength"] == "12"

    def test_keeps_pods_while_the_queue_cannot_be_read(self) -> None:
        # With a fallback of no pods, KEDA would end those that are there after the cooldown.
        assert "fallback" not in spec_of("ScaledObject")

    def test_reads_the_queue_as_the_operator(self) -> None:
        (trigger,) = spec_of("ScaledObject")["triggers"]
        assert trigger["authenticationRef"] == {"name": "tiny-shapes"}
        assert spec_of("TriggerAuthentication") == {"podIdentity": {"provider": "aws"}}
        assert "TinyShapesQueue" in trigger["metadata"]["queueURL"]
