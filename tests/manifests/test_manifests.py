"""Every Kubernetes resource is valid, as synthesised by default and whatever the arguments."""

from __future__ import annotations

import math
from typing import Any

import pytest
from aws_cdk import Duration
from hypothesis import given, settings
from hypothesis import strategies as st

from cdk_stable_diffusion.contract.names import is_runtime_name
from cdk_stable_diffusion.runtime import Capacity, GpuNodes, Scaling
from cdk_stable_diffusion.runtime.node_pool import node_class, node_pool
from cdk_stable_diffusion.runtime.timing import MAX_TASK_SECONDS, MIN_TASK_SECONDS, Timing
from cdk_stable_diffusion.runtime.workload import Workload
from tests.manifests.compose import quickstart
from tests.manifests.template import manifest_of, manifests_of
from tests.manifests.validator import faults_of

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
TIMINGS = st.integers(MIN_TASK_SECONDS, MAX_TASK_SECONDS).map(
    lambda seconds: Timing(longest_task_seconds=seconds)
)
NODES = st.builds(
    GpuNodes,
    families=st.lists(
        st.sampled_from(["g4dn", "g5", "g6", "g6e", "gr6", "p5"]), min_size=1, unique=True
    ).map(tuple),
    # What each of these families has.
    min_gpu_memory_gibibytes=st.integers(1, 16),
    max_vcpus=st.integers(4, 192),
    capacity=st.sampled_from(Capacity),
    consolidate_after=st.none() | st.integers(0, 3_600).map(Duration.seconds),
    expire_after=st.none() | st.integers(1, 720).map(Duration.hours),
)
REPLICAS = st.integers(1, 1_000).flatmap(
    lambda most: st.tuples(st.integers(0, most), st.just(most))
)


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    fewest, most = draw(REPLICAS)
    seconds_per_image = draw(st.floats(0.01, 3_600))
    return Scaling(
        target_latency=Duration.seconds(draw(st.integers(math.ceil(seconds_per_image), 86_400))),
        seconds_per_image=seconds_per_image,
        min_replicas=fewest,
        max_replicas=most,
        cooldown=Duration.seconds(draw(st.integers(0, 86_400))),
        scale_down_stabilization=Duration.seconds(draw(st.integers(0, 3_600))),
    )


def kinds() -> list[tuple[str, str]]:
    return [(each["kind"], each["metadata"]["name"]) for each in manifests_of(quickstart())]


def test_quickstart_has_all_of_them() -> None:
    of_each_runtime = {
        "Deployment",
        "EC2NodeClass",
        "NodePool",
        "ScaledObject",
        "ServiceAccount",
        "TriggerAuthentication",
    }
    assert sorted(kinds()) == sorted(
        [("Namespace", "keda"), ("Namespace", "stable-diffusion")]
        + [(kind, name) for kind in of_each_runtime for name in ("any-model", "tiny-shapes")]
    )


def test_quickstart_is_valid() -> None:
    faults = {
        f"{each['kind']} {each['metadata']['name']}": faults_of(each)
        for each in manifests_of(quickstart())
    }
    assert {name: found for name, found in faults.items() if found} == {}


def test_each_is_applied_by_itself_and_without_pruning() -> None:
    applied = [
        each["Properties"]
        for each in quickstart()["Resources"].values()
        if each["Type"] == "Custom::AWSCDK-EKS-KubernetesResource"
    ]
    assert len(applied) == len(kinds())
    assert all(each["Overwrite"] is True for each in applied)
    assert not any("PruneLabel" in each for each in applied)


@settings(max_examples=25, deadline=None)
@given(name=NAMES, nodes=NODES, timing=TIMINGS, max_gpus=st.integers(1, 1_000))
def test_nodes_are_valid(name: str, nodes: GpuNodes, timing: Timing, max_gpus: int) -> None:
    assert is_runtime_name(name)
    found = node_class(
        name,
        nodes=nodes,
        instance_profile="profile",
        subnet_ids=["subnet-0a", "subnet-0b"],
        security_group_id="sg-0a",
    )
    assert faults_of(found) == []
    pool = node_pool(
        name,
        nodes=nodes,
        max_gpus=max_gpus,
        local_disk_gibibytes=160,
        grace_seconds=timing.node_grace_seconds,
    )
    assert faults_of(pool) == []


@settings(max_examples=25, deadline=None)
@given(name=NAMES, scaling=scalings(), timing=TIMINGS, cache=st.integers(1, 10_000))
def test_workload_is_valid(name: str, scaling: Scaling, timing: Timing, cache: int) -> None:
    workload = Workload(name=name, namespace="stable-diffusion")
    made: list[dict[str, Any]] = [
        workload.service_account(),
        workload.trigger_authentication(),
        workload.deployment(
            image="registry.example/agent@sha256:abc",
            environment={"SD_RUNTIME_NAME": name},
            grace_seconds=timing.pod_grace_seconds,
            model_cache_limit_gibibytes=cache,
        ),
        workload.scaled_object(
            scaling=scaling,
            queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/queue",
            region="eu-west-1",
        ),
    ]
    assert [fault for each in made for fault in faults_of(each)] == []


class TestDeployment:
    @pytest.fixture
    def spec(self) -> dict[str, Any]:
        return dict(manifest_of("Deployment", "tiny-shapes", quickstart())["spec"])

    @pytest.fixture
    def pod(self, spec: dict[str, Any]) -> dict[str, Any]:
        return dict(spec["template"]["spec"])

    @pytest.fixture
    def agent(self, pod: dict[str, Any]) -> dict[str, Any]:
        (container,) = pod["containers"]
        return dict(container)

    def test_leaves_replicas_to_the_scaler(self, spec: dict[str, Any]) -> None:
        assert "replicas" not in spec

    def test_replaces_pods_without_a_second_node(self, spec: dict[str, Any]) -> None:
        assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}

    def test_selects_its_own_pods(self, spec: dict[str, Any]) -> None:
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

    def test_meets_the_restricted_standard(
        self, pod: dict[str, Any], agent: dict[str, Any]
    ) -> None:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert agent["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    def test_has_no_kubernetes_token(self, pod: dict[str, Any]) -> None:
        assert pod["automountServiceAccountToken"] is False

    def test_has_one_gpu(self, agent: dict[str, Any]) -> None:
        assert agent["resources"]["limits"] == {"nvidia.com/gpu": "1"}

    def test_is_probed(self, agent: dict[str, Any]) -> None:
        assert agent["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
        assert agent["startupProbe"]["httpGet"] == {"path": "/livez", "port": 8080}
        assert agent["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8080}

    def test_writes_only_to_sized_scratch_space(
        self, pod: dict[str, Any], agent: dict[str, Any]
    ) -> None:
        volumes = {each["name"]: each["emptyDir"]["sizeLimit"] for each in pod["volumes"]}
        assert volumes == {"model-cache": "110Gi", "temporary": "4Gi"}
        assert {each["mountPath"] for each in agent["volumeMounts"]} == {
            "/tmp",
            "/var/cache/models",
        }

    def test_cache_is_full_before_the_pod_is_evicted(self, agent: dict[str, Any]) -> None:
        environment = {each["name"]: each["value"] for each in agent["env"]}
        assert int(environment["SD_MODEL_CACHE_BYTES"]) < 110 * 1024**3

    def test_runs_on_nodes_of_the_runtime_only(self, pod: dict[str, Any]) -> None:
        assert pod["nodeSelector"] == {"sd.runtime/name": "tiny-shapes"}
        pool = manifest_of("NodePool", "tiny-shapes", quickstart())["spec"]["template"]
        assert pool["metadata"]["labels"] == {"sd.runtime/name": "tiny-shapes"}
        tolerated = {each["key"] for each in pod["tolerations"]}
        assert {each["key"] for each in pool["spec"]["taints"]} == tolerated


class TestNodePool:
    @pytest.fixture
    def spec(self) -> dict[str, Any]:
        return dict(manifest_of("NodePool", "tiny-shapes", quickstart())["spec"])

    def test_stops_at_as_many_gpus_as_pods(self, spec: dict[str, Any]) -> None:
        assert spec["limits"] == {"nvidia.com/gpu": "10"}

    def test_falls_back_to_on_demand_in_one_pool(self, spec: dict[str, Any]) -> None:
        capacity = next(
            each
            for each in spec["template"]["spec"]["requirements"]
            if each["key"] == "karpenter.sh/capacity-type"
        )
        assert capacity["values"] == ["spot", "on-demand"]

    def test_does_not_exclude_24_gb_cards(self, spec: dict[str, Any]) -> None:
        memory = next(
            each
            for each in spec["template"]["spec"]["requirements"]
            if each["key"] == "karpenter.k8s.aws/instance-gpu-memory"
        )
        assert memory["operator"] == "Gte"
        assert int(memory["values"][0]) <= 22_888

    def test_takes_no_busy_node_away(self, spec: dict[str, Any]) -> None:
        assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty"

    def test_outlives_its_pods_and_goes_within_ten_minutes(self, spec: dict[str, Any]) -> None:
        grace = int(spec["template"]["spec"]["terminationGracePeriod"].removesuffix("s"))
        pod = manifest_of("Deployment", "tiny-shapes", quickstart())["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] < grace <= 600


class TestNodeClass:
    @pytest.fixture
    def spec(self) -> dict[str, Any]:
        return dict(manifest_of("EC2NodeClass", "tiny-shapes", quickstart())["spec"])

    def test_pins_bottlerocket(self, spec: dict[str, Any]) -> None:
        (term,) = spec["amiSelectorTerms"]
        assert term["alias"].startswith("bottlerocket@v1.")

    def test_uses_the_instance_profile_of_the_template(self, spec: dict[str, Any]) -> None:
        assert "InstanceProfile" in spec["instanceProfile"]
        assert "role" not in spec

    def test_encrypts_every_volume(self, spec: dict[str, Any]) -> None:
        assert all(each["ebs"]["encrypted"] for each in spec["blockDeviceMappings"])

    def test_keeps_pods_from_the_nodes_credentials(self, spec: dict[str, Any]) -> None:
        assert spec["metadataOptions"]["httpTokens"] == "required"
        assert spec["metadataOptions"]["httpPutResponseHopLimit"] == 1

    def test_pulls_in_parallel_to_local_disks(self, spec: dict[str, Any]) -> None:
        assert spec["instanceStorePolicy"] == "RAID0"
        assert 'snapshotter = "soci"' in spec["userData"]
        # Karpenter adds this command for RAID0; a second one would contradict it.
        assert "bootstrap-commands" not in spec["userData"]


class TestScaledObject:
    @pytest.fixture
    def spec(self) -> dict[str, Any]:
        return dict(manifest_of("ScaledObject", "tiny-shapes", quickstart())["spec"])

    def test_scales_the_deployment_to_zero(self, spec: dict[str, Any]) -> None:
        assert spec["scaleTargetRef"]["name"] == "tiny-shapes"
        assert spec["minReplicaCount"] == 0
        assert spec["maxReplicaCount"] == 10

    def test_counts_running_tasks(self, spec: dict[str, Any]) -> None:
        (trigger,) = spec["triggers"]
        assert trigger["metadata"]["scaleOnInFlight"] == "true"

    def test_gives_a_pod_as_many_tasks_as_the_target_allows(self, spec: dict[str, Any]) -> None:
        (trigger,) = spec["triggers"]
        assert trigger["metadata"]["queueLength"] == "12"

    def test_keeps_pods_while_the_queue_cannot_be_read(self, spec: dict[str, Any]) -> None:
        assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"

    def test_reads_the_queue_as_the_operator(self, spec: dict[str, Any]) -> None:
        (trigger,) = spec["triggers"]
        assert trigger["authenticationRef"] == {"name": "tiny-shapes"}
        found = manifest_of("TriggerAuthentication", "tiny-shapes", quickstart())["spec"]
        assert found == {"podIdentity": {"provider": "aws"}}
