"""What of a cluster exists before what, and what an update of it changes."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from aws_cdk import Stack

from cdk_stable_diffusion.cluster import VERSIONS, Addon, SdEksCluster, karpenter, keda
from tests.manifests.compose import Template, cluster_alone, new_app, properties, templates_of
from tests.manifests.graph import DependencyGraph

KARPENTER = "Cluster/Karpenter/Controller"


@pytest.fixture(scope="module")
def graph() -> DependencyGraph:
    return DependencyGraph(cluster_alone())


@pytest.mark.parametrize(
    ("first", "second"),
    list(
        itertools.pairwise(
            (
                "Cluster/Karpenter/Chart",
                "Cluster/Karpenter/CustomResourcesChart",
                "Cluster/SystemNodes/Nodegroup",
                "Cluster/Addons/VpcCni",
                "Cluster/Addons/EksPodIdentityAgent",
                "Cluster/Cluster",
            )
        )
    ),
)
def test_is_deleted_before(graph: DependencyGraph, first: str, second: str) -> None:
    assert graph.named(second) in graph.waits_for(graph.named(first))
    assert graph.named(first) not in graph.waits_for(graph.named(second))


@pytest.mark.parametrize(
    ("user", "needed"),
    [
        ("Cluster/Karpenter/Chart", f"{KARPENTER}/Association"),
        ("Cluster/Karpenter/Chart", f"{KARPENTER}/Role"),
        ("Cluster/Karpenter/Chart", f"{KARPENTER}/NodeLifecycle"),
        ("Cluster/Karpenter/Chart", f"{KARPENTER}/Interruptions/Queue"),
        ("Cluster/Karpenter/Chart", f"{KARPENTER}/Interruptions/Queue/Policy"),
        ("Cluster/Keda/Chart", "Cluster/SystemNodes/Nodegroup"),
        ("Cluster/Keda/Chart", "Cluster/Keda/Namespace"),
        ("Cluster/Keda/Chart", "Cluster/Keda/OperatorAssociation"),
        # Its metrics server and its operator find each other by name.
        ("Cluster/Keda/Chart", "Cluster/Addons/Coredns"),
        ("Cluster/Addons/Coredns", "Cluster/SystemNodes/Nodegroup"),
        ("Cluster/Addons/MetricsServer", "Cluster/SystemNodes/Nodegroup"),
        ("Cluster/Addons/EksNodeMonitoringAgent", "Cluster/SystemNodes/Nodegroup"),
        (
            "Cluster/Addons/AmazonCloudwatchObservability",
            "Cluster/Addons/EksPodIdentityAgent",
        ),
        ("Cluster/SystemNodes/Nodegroup", "Cluster/Addons/KubeProxy"),
        ("Cluster/SystemNodes/Nodegroup", "Cluster/Vpc/S3"),
        ("Cluster/NetworkPolicy", "Cluster/Namespace"),
        # Its finalizer is taken off while the plugin is there.
        ("Cluster/NetworkPolicy", "Cluster/Addons/VpcCni"),
        ("Cluster/GpuNodes/AccessEntry", "Cluster/Cluster"),
    ],
)
def test_needs(graph: DependencyGraph, user: str, needed: str) -> None:
    assert graph.named(needed) in graph.waits_for(graph.named(user))


def test_five_rules_fill_the_queue_before_karpenter_reads_it(graph: DependencyGraph) -> None:
    rules = set(graph.of_type("AWS::Events::Rule"))
    assert len(rules) == 5
    assert rules <= graph.waits_for(graph.named("Cluster/Karpenter/Chart"))


def test_nothing_waits_for_itself(graph: DependencyGraph) -> None:
    names = cluster_alone()["Resources"]
    assert [name for name in names if name in graph.waits_for(name)] == []


def test_manifests_go_while_kubectl_still_may_and_can(graph: DependencyGraph) -> None:
    kept = {
        *graph.of_type("AWS::EC2::NatGateway"),
        *graph.of_type("AWS::EC2::Route"),
        *graph.of_type("AWS::EC2::SubnetRouteTableAssociation"),
        *graph.of_type("AWS::EC2::VPCGatewayAttachment"),
        graph.named("Cluster/Cluster/ClusterAdminRoleAccess"),
        graph.named("Cluster/Cluster/KubectlProvider/Handler"),
        graph.named("Cluster/Cluster/KubectlProvider/Handler/ServiceRole/DefaultPolicy"),
    }
    users = [
        *graph.of_type("Custom::AWSCDK-EKS-KubernetesResource"),
        *graph.of_type("Custom::AWSCDK-EKS-HelmChart"),
    ]
    assert len(users) == 9
    for user in users:
        assert kept <= graph.waits_for(user)


def test_what_runtimes_wait_for_is_told() -> None:
    cluster = SdEksCluster(Stack(new_app(), "Service"), "Cluster")
    assert set(cluster.before_nodes) == {cluster.karpenter_chart, cluster.node_access_entry}
    assert set(cluster.before_scaling) == {cluster.keda_chart, cluster.namespace_manifest}
    assert set(cluster.before_pods) == {
        cluster.namespace_manifest,
        cluster.network_policy,
        *cluster.priority_classes.values(),
        cluster.addons["coredns"],
    }


def test_names_are_given_once() -> None:
    cluster = SdEksCluster(Stack(new_app(), "Service"), "Cluster")
    cluster._runtime_names.take("sdxl")
    cluster._pool_names.take("sdxl")
    with pytest.raises(ValueError, match="already has a runtime named 'sdxl'"):
        cluster._runtime_names.take("sdxl")
    with pytest.raises(ValueError, match="already has a node pool named 'sdxl'"):
        cluster._pool_names.take("sdxl")


def synthesised(**arguments: Any) -> Template:
    app = new_app()
    SdEksCluster(Stack(app, "Service"), "Cluster", **arguments)
    return templates_of(app)["Service"]


def changed(before: Template, after: Template) -> dict[str, set[str]]:
    """Return which properties of which resources differ, by construct path."""
    assert before["Resources"].keys() == after["Resources"].keys()
    return {
        after["Resources"][name]["Metadata"]["aws:cdk:path"].removeprefix("Service/Cluster/"): {
            key
            for key in {**old.get("Properties", {}), **new.get("Properties", {})}
            if old["Properties"].get(key) != new["Properties"].get(key)
        }
        for name, old in before["Resources"].items()
        if old != (new := after["Resources"][name])
    }


def test_an_update_of_an_addon_changes_its_build_only() -> None:
    after = synthesised(addons=(Addon(name="coredns", version="v1.14.6-eksbuild.4"),))
    assert changed(cluster_alone(), after) == {"Addons/Coredns": {"AddonVersion"}}


def test_system_nodes_follow_the_version_of_the_cluster() -> None:
    (nodes,) = properties(cluster_alone(), "AWS::EKS::Nodegroup")
    (control_plane,) = properties(cluster_alone(), "AWS::EKS::Cluster")
    assert nodes["Version"] == control_plane["Version"] == VERSIONS.kubernetes


@pytest.mark.parametrize(
    ("module", "part", "charts"),
    [
        (
            karpenter,
            "karpenter",
            {"Karpenter/Chart/Resource/Default", "Karpenter/CustomResourcesChart/Resource/Default"},
        ),
        (keda, "keda", {"Keda/Chart/Resource/Default"}),
    ],
    ids=["karpenter", "keda"],
)
def test_an_update_of_a_chart_changes_its_version_only(
    monkeypatch: pytest.MonkeyPatch, module: Any, part: str, charts: set[str]
) -> None:
    before = cluster_alone()
    change: dict[str, Any] = {part: "99.0.0"}
    newer = dataclasses.replace(VERSIONS, **change)
    monkeypatch.setattr(module, "VERSIONS", newer)
    assert changed(before, synthesised()) == {chart: {"Version"} for chart in charts}
