"""Runtimes on EKS Auto Mode: the same arguments, but for what it cannot do."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import Duration, Size
from aws_cdk.assertions import Annotations, Match

from cdk_stable_diffusion.runtime import (
    DisruptionBudget,
    GpuNodes,
    ImageStart,
    Scaling,
    SdNodePool,
)
from cdk_stable_diffusion.runtime.pool import FAMILIES_WARNING
from tests.manifests.template import manifest_of, manifests_of
from tests.unit.runtime.light_cluster import (
    AUTO_MODE,
    LightService,
    invalid_manifests,
    light_service,
    spec_of,
)


@pytest.fixture
def service() -> LightService:
    return light_service(compute=AUTO_MODE)


def test_has_nodes_of_its_kind(service: LightService) -> None:
    service.add_runtime("Sdxl")
    template = service.template()
    node_class = manifest_of("NodeClass", "sdxl", template)
    assert node_class["apiVersion"] == "eks.amazonaws.com/v1"
    reference = spec_of("NodePool", "sdxl", template)["template"]["spec"]["nodeClassRef"]
    assert reference == {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "sdxl"}
    assert not any(each["kind"] == "EC2NodeClass" for each in manifests_of(template))


def test_has_the_role_and_no_instance_profile(service: LightService) -> None:
    service.add_runtime("Sdxl")
    spec = spec_of("NodeClass", "sdxl", service.template())
    assert spec["role"] == "node-role"
    assert "instanceProfile" not in spec


def test_puts_no_tags_on_instances_that_it_would_need_a_right_for(service: LightService) -> None:
    service.add_runtime("Sdxl")
    assert "tags" not in spec_of("NodeClass", "sdxl", service.template())


def test_chooses_instances_by_its_own_labels(service: LightService) -> None:
    service.add_runtime("Sdxl", nodes=GpuNodes(zones=("eu-west-1a",)))
    found = spec_of("NodePool", "sdxl", service.template())["template"]["spec"]["requirements"]
    assert {each["key"] for each in found} == {
        "karpenter.sh/capacity-type",
        "kubernetes.io/arch",
        "topology.kubernetes.io/zone",
        "eks.amazonaws.com/instance-family",
        "eks.amazonaws.com/instance-gpu-manufacturer",
        "eks.amazonaws.com/instance-gpu-count",
        "eks.amazonaws.com/instance-gpu-memory",
        "eks.amazonaws.com/instance-cpu",
        "eks.amazonaws.com/instance-hypervisor",
        "eks.amazonaws.com/instance-local-nvme",
    }


def test_has_the_same_limits_grace_and_budgets(service: LightService) -> None:
    nodes = GpuNodes(
        gpus_per_node=4,
        termination_grace=Duration.minutes(8),
        budgets=(DisruptionBudget.of_percent(50),),
    )
    service.add_runtime("Sdxl", nodes=nodes, scaling=Scaling(max_replicas=8))
    found = spec_of("NodePool", "sdxl", service.template())
    assert found["limits"] == {"nvidia.com/gpu": "8"}
    assert found["template"]["spec"]["terminationGracePeriod"] == "480s"
    assert found["disruption"] == {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "60s",
        "budgets": [{"nodes": "50%", "reasons": ["Empty", "Drifted"]}],
    }


def test_two_runtimes_share_a_pool(service: LightService) -> None:
    pool = SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=GpuNodes(max_gpus=4))
    for id in ("One", "Two"):
        service.add_runtime(id, nodes=pool)
    template = service.template()
    assert manifest_of("NodeClass", "gpus", template)["kind"] == "NodeClass"
    assert invalid_manifests(template) == {}


@pytest.mark.parametrize(
    ("id", "nodes", "says"),
    [
        (
            "Sdxl",
            GpuNodes(image_start=ImageStart.snapshot()),
            "nodes.image_start is ImageStart.snapshot(): EKS Auto Mode starts no node from a "
            "snapshot; use ImageStart.parallel_pull(), or a cluster with Compute.karpenter()",
        ),
        (
            "Sdxl",
            GpuNodes(
                image_start=ImageStart.snapshot("snap-0123456789abcdef0", volume=Size.gibibytes(60))
            ),
            "EKS Auto Mode starts no node from a snapshot",
        ),
        (
            "Sdxl",
            GpuNodes(expire_after=Duration.days(22)),
            "nodes.expire_after is 22 days: at most 21, after which EKS Auto Mode replaces every",
        ),
        ("Default", GpuNodes(), "name is 'default': EKS Auto Mode has nodes of that name itself"),
        ("System", GpuNodes(), "name is 'system': EKS Auto Mode has nodes of that name itself"),
        (
            "GeneralPurpose",
            GpuNodes(),
            "name is 'general-purpose': EKS Auto Mode has nodes of that name itself",
        ),
    ],
)
def test_refuses(service: LightService, id: str, nodes: GpuNodes, says: str) -> None:
    with pytest.raises(ValueError, match="SdRuntime Service/") as error:
        service.add_runtime(id, nodes=nodes)
    assert says in str(error.value)
    assert service.stack.node.try_find_child(id) is None


def test_refuses_for_a_shared_pool_too(service: LightService) -> None:
    start = ImageStart.snapshot("snap-0123456789abcdef0", volume=Size.gibibytes(60))
    with pytest.raises(ValueError) as error:
        SdNodePool(
            service.stack,
            "Default",
            cluster=service.cluster,
            nodes=GpuNodes(image_start=start, expire_after=Duration.days(30)),
        )
    for says in ("max_gpus is None", "from a snapshot", "30 days", "name is 'default'"):
        assert says in str(error.value)


@pytest.mark.parametrize("expire_after", [Duration.days(21), None], ids=["21-days", "default"])
def test_takes_an_age_that_auto_mode_keeps_to(
    service: LightService, expire_after: Duration | None
) -> None:
    service.add_runtime("Sdxl", nodes=GpuNodes(expire_after=expire_after))


@pytest.mark.parametrize(
    ("families", "warns"), [(("g7",), True), (("g6", "g7"), False), (("g99",), False)]
)
def test_warns_of_families_that_auto_mode_was_not_known_to_have(
    service: LightService, families: tuple[str, ...], warns: bool
) -> None:
    service.add_runtime("Sdxl", nodes=GpuNodes(families=families))
    annotations: Any = Annotations.from_stack(service.stack)
    check = annotations.has_warning if warns else annotations.has_no_warning
    check("/Service/Sdxl/Pool", Match.string_like_regexp(FAMILIES_WARNING))
