"""An update changes what it must, and nothing beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from aws_cdk import App, Duration, Stack

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import VERSIONS, Addon, SdEksCluster
from cdk_stable_diffusion.runtime import (
    GpuNodes,
    ImageStart,
    Model,
    RuntimeImage,
    Scaling,
    SdRuntime,
)
from tests.manifests.compose import IMAGE, Template, new_app, templates_of
from tests.manifests.difference import difference
from tests.unit.runtime.light_cluster import light_service

NEW_IMAGE = RuntimeImage.from_registry(f"registry.example/agent@sha256:{'1' * 64}")

SPEC = "spec.template.spec"
AGENT = f"{SPEC}.containers[agent]"


def only(app: App) -> Template:
    (template,) = templates_of(app).values()
    return template


class TestCluster:
    """Versions of what the cluster runs."""

    @staticmethod
    def template(**arguments: Any) -> Template:
        app = new_app()
        stack = Stack(app, "Service")
        cluster = SdEksCluster(stack, "Cluster", **arguments)
        SdRuntime(
            stack,
            "Sdxl",
            api=SdApi(stack, "Api"),
            cluster=cluster,
            model=Model.static("sdxl"),
            image=IMAGE,
        )
        return only(app)

    @classmethod
    @cache
    def before(cls) -> Template:
        return cls.template()

    def test_the_same_app_is_the_same(self) -> None:
        assert self.template() == self.before()

    @pytest.mark.parametrize(
        ("what", "modules", "changes"),
        [
            ("keda", ["cluster.keda"], {"Cluster/Keda/Chart": {"Version"}}),
            (
                "karpenter",
                ["cluster.karpenter"],
                # Custom resources go with what reads them.
                {
                    "Cluster/Karpenter/CustomResourcesChart": {"Version"},
                    "Cluster/Karpenter/Chart": {"Version"},
                },
            ),
            (
                "bottlerocket",
                ["runtime.node_class"],
                # Nodes drift one by one; no pod and no other node is touched.
                {"Sdxl/Pool/NodeClass": {"spec.amiSelectorTerms[0].alias"}},
            ),
        ],
        ids=lambda it: it if isinstance(it, str) else "",
    )
    def test_a_new_version_of(
        self,
        what: str,
        modules: list[str],
        changes: dict[str, set[str]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        before = self.before()
        version: Any = {what: "99.0.0"}
        newer = dataclasses.replace(VERSIONS, **version)
        for module in modules:
            monkeypatch.setattr(f"cdk_stable_diffusion.{module}.VERSIONS", newer)
        assert difference(before, self.template()) == changes

    def test_a_new_version_of_an_addon(self) -> None:
        newer = Addon(name="coredns", version="v1.99.0-eksbuild.1")
        assert difference(self.before(), self.template(addons=[newer])) == {
            "Cluster/Addons/Coredns": {"AddonVersion"}
        }


class TestRuntime:
    """Arguments of one runtime, in a cluster with another one."""

    @staticmethod
    def template(**arguments: Any) -> Template:
        service = light_service()
        service.add_runtime("Sdxl", Model.static("sdxl"), **arguments)
        service.add_runtime("Any", Model.dynamic())
        return service.template()

    @classmethod
    @cache
    def before(cls) -> Template:
        return cls.template()

    @pytest.mark.parametrize(
        ("arguments", "changes"),
        [
            ({"image": NEW_IMAGE}, {"Sdxl/Deployment": {f"{AGENT}.image"}}),
            (
                {"scaling": Scaling(target_latency=Duration.minutes(2))},
                {"Sdxl/ScaledObject": {"spec.triggers[0].metadata.queueLength"}},
            ),
            (
                {"scaling": Scaling(cooldown=Duration.minutes(1))},
                {"Sdxl/ScaledObject": {"spec.cooldownPeriod"}},
            ),
            (
                {"scaling": Scaling(max_replicas=20)},
                {
                    "Sdxl/ScaledObject": {"spec.maxReplicaCount"},
                    # The stop to the cost follows.
                    "Sdxl/Pool/NodePool": {"spec.limits.nvidia.com/gpu"},
                },
            ),
            (
                {"scaling": Scaling(min_replicas=1)},
                {"Sdxl/ScaledObject": {"spec.minReplicaCount"}},
            ),
            (
                {"nodes": GpuNodes(max_gpus=20)},
                {"Sdxl/Pool/NodePool": {"spec.limits.nvidia.com/gpu"}},
            ),
            (
                {"nodes": GpuNodes(consolidate_after=Duration.minutes(5))},
                {"Sdxl/Pool/NodePool": {"spec.disruption.consolidateAfter"}},
            ),
            (
                {"longest_task": Duration.minutes(2)},
                {
                    "Sdxl/Queue": {"VisibilityTimeout"},
                    "Sdxl/Deployment": {
                        f"{SPEC}.terminationGracePeriodSeconds",
                        f"{AGENT}.env[SD_TASK_TIMEOUT_SECONDS].value",
                        f"{AGENT}.env[SD_DRAIN_SECONDS].value",
                    },
                },
            ),
            (
                {"max_receive_count": 5},
                {
                    "Sdxl/Queue": {"RedrivePolicy.maxReceiveCount"},
                    "Sdxl/Deployment": {f"{AGENT}.env[SD_MAX_RECEIVE_COUNT].value"},
                },
            ),
        ],
        ids=lambda it: "-".join(it) if isinstance(it, dict) else "",
    )
    def test_a_change_of(self, arguments: dict[str, Any], changes: dict[str, set[str]]) -> None:
        assert difference(self.before(), self.template(**arguments)) == changes

    def test_the_same_app_is_the_same(self) -> None:
        assert self.template() == self.before()


class TestSnapshot:
    """A runtime whose nodes start from a snapshot of its image."""

    @staticmethod
    def template(image: RuntimeImage) -> Template:
        service = light_service()
        nodes = GpuNodes(image_start=ImageStart.snapshot())
        service.add_runtime("Sdxl", Model.static("sdxl"), image=image, nodes=nodes)
        return service.template()

    def test_a_new_image_makes_a_new_snapshot(self) -> None:
        changed = difference(self.template(IMAGE), self.template(NEW_IMAGE))
        assert changed.pop("Sdxl/Deployment") == {f"{AGENT}.image"}
        # It refers to the cache's snapshot: CloudFormation updates it once there is a new one.
        assert "Sdxl/Pool/NodeClass" not in changed
        assert [path for path in changed if not path.startswith("Sdxl/ImageCache")] == []
        assert changed

    def test_the_same_image_keeps_it(self) -> None:
        assert self.template(IMAGE) == self.template(IMAGE)


def runtime_added(add: Callable[[Any], None]) -> dict[str, set[str]]:
    service = light_service()
    service.add_runtime("Any", Model.dynamic())
    before = service.template()
    service = light_service()
    service.add_runtime("Any", Model.dynamic())
    add(service)
    return difference(before, service.template())


def test_another_runtime_changes_only_what_routes_tasks() -> None:
    changed = runtime_added(lambda it: it.add_runtime("Sdxl", Model.static("sdxl")))
    assert {path: fields for path, fields in changed.items() if not path.startswith("Sdxl/")} == {
        "Api/Handler/Function": {"Environment.Variables.SD_ROUTES", "DependsOn"},
    }


def test_a_model_that_moves_to_another_runtime_changes_no_filter() -> None:
    def template(*models: str) -> Template:
        service = light_service()
        service.add_runtime("Any", Model.dynamic(lanes=2))
        service.add_runtime("Sdxl", Model.static("sdxl", *models))
        return service.template()

    assert difference(template(), template("turbo")) == {
        "Api/Handler/Function": {"Environment.Variables.SD_ROUTES"},
        "Sdxl/Deployment": {f"{AGENT}.env[SD_MODELS].value"},
    }


@pytest.mark.parametrize(("before", "after"), [(2, 3), (3, 2)])
def test_another_number_of_lanes_keeps_those_that_stay(before: int, after: int) -> None:
    def template(lanes: int) -> Template:
        service = light_service()
        service.add_runtime("Any", Model.dynamic(lanes=lanes))
        return service.template()

    changed = difference(template(before), template(after))
    # The lane that comes or goes.
    for part in ("Lane2", "Lane2/Policy", "Lane2Subscription"):
        assert changed.pop(f"Any/{part}")
    assert set(changed.pop("Any/ScaledObject")) == {
        "spec.triggers",
        "spec.advanced.scalingModifiers.formula",
    }
    assert changed == {
        # What it takes beside its own changes last, see `UpdateOrder`.
        "Any/Subscription": {"FilterPolicy.lane[1].numeric[1]", "DependsOn"},
        "Any/Role/DefaultPolicy": {"PolicyDocument.Statement[0].Resource"},
        "Any/ScalerPolicy": {"PolicyDocument.Statement[0].Resource"},
        "Any/Deployment": {f"{AGENT}.env[SD_LANE_QUEUE_URLS].value"},
        "Api/Handler/Function": {"Environment.Variables.SD_ROUTES", "DependsOn"},
    }


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1)])
def test_the_overflow_queue_comes_and_goes_with_the_second_lane(before: int, after: int) -> None:
    def template(lanes: int) -> Template:
        service = light_service()
        service.add_runtime("Any", Model.dynamic(lanes=lanes))
        return service.template()

    changed = difference(template(before), template(after))
    lane = {"Lane1", "Lane1/Policy", "Lane1Subscription"}
    members = {"MembersService", "MembersRole", "MembersRoleBinding"}
    # No subscription of its own: nothing but pods send to it.
    for part in {*lane, *members, "OverflowQueue", "OverflowQueue/Policy"}:
        assert changed.pop(f"Any/{part}")
    assert set(changed) == {
        "Any/Subscription",
        "Any/Role/DefaultPolicy",
        "Any/ScalerPolicy",
        "Any/Deployment",
        "Any/ScaledObject",
        "Api/Handler/Function",
    }
