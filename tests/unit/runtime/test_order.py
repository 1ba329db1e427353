"""What CloudFormation makes before what, and so deletes after it."""

from __future__ import annotations

import itertools

import pytest

from tests.manifests.compose import quickstart
from tests.manifests.graph import DependencyGraph

DELETED_IN_THIS_ORDER = (
    "TinyShapes/ScaledObject",
    "TinyShapes/Deployment",
    "TinyShapes/Pool/NodePool",
    "TinyShapes/Pool/NodeClass",
    "Cluster/Karpenter/Chart",
    "Cluster/Karpenter/CustomResourcesChart",
    "Cluster/SystemNodes/Nodegroup",
    "Cluster/Addons/VpcCni",
    "Cluster/Addons/EksPodIdentityAgent",
    "Cluster/Cluster",
)


@pytest.fixture(scope="module")
def graph() -> DependencyGraph:
    return DependencyGraph(quickstart())


@pytest.mark.parametrize(
    ("first", "second"),
    list(itertools.pairwise(DELETED_IN_THIS_ORDER)),
)
def test_is_deleted_before(graph: DependencyGraph, first: str, second: str) -> None:
    assert graph.named(second) in graph.waits_for(graph.named(first))
    assert graph.named(first) not in graph.waits_for(graph.named(second))


@pytest.mark.parametrize(
    ("user", "needed"),
    [
        ("TinyShapes/ScaledObject", "Cluster/Keda/Chart"),
        ("TinyShapes/ScaledObject", "TinyShapes/TriggerAuthentication"),
        ("TinyShapes/ScaledObject", "TinyShapes/ScalerPolicy"),
        ("TinyShapes/ScaledObject", "TinyShapes/Queue"),
        ("TinyShapes/Deployment", "TinyShapes/Association"),
        ("TinyShapes/Deployment", "TinyShapes/Role/DefaultPolicy"),
        ("TinyShapes/Deployment", "TinyShapes/ServiceAccount"),
        ("TinyShapes/Deployment", "Cluster/Namespace"),
        # The NodePool is deleted at once, and the node class once the last node has ended.
        ("TinyShapes/Pool/NodeClass", "TinyShapes/Association"),
        ("TinyShapes/Pool/NodeClass", "TinyShapes/Role/DefaultPolicy"),
        ("TinyShapes/Pool/NodeClass", "Cluster/GpuNodes/AccessEntry"),
        ("TinyShapes/Pool/NodeClass", "Cluster/GpuNodes/InstanceProfile"),
        ("Cluster/Karpenter/Chart", "Cluster/Karpenter/Controller/Association"),
        ("Cluster/Karpenter/Chart", "Cluster/Karpenter/Controller/NodeLifecycle"),
        ("Cluster/Karpenter/Chart", "Cluster/Karpenter/Controller/Interruptions/Queue"),
        ("Cluster/Karpenter/Chart", "Cluster/Karpenter/Controller/Interruptions/SpotInterruption"),
        ("Cluster/Keda/Chart", "Cluster/Keda/OperatorAssociation"),
        ("Cluster/Keda/Chart", "Cluster/Keda/Namespace"),
        ("Cluster/Addons/Coredns", "Cluster/SystemNodes/Nodegroup"),
        # Or tasks would be sent to a queue, or left out of another, before one takes them.
        ("Api/Handler/Function", "TinyShapes/Subscription"),
        ("Api/Handler/Function", "AnyModel/Subscription"),
        ("Api/Handler/Function", "AnyModel/Lane15Subscription"),
        ("AnyModel/Subscription", "AnyModel/Lane1Subscription"),
        ("AnyModel/Subscription", "AnyModel/Lane15Subscription"),
        # Pods go before what they know each other by.
        ("AnyModel/Deployment", "AnyModel/MembersService"),
        ("AnyModel/Deployment", "AnyModel/MembersRoleBinding"),
        ("AnyModel/ScaledObject", "AnyModel/Lane15"),
    ],
)
def test_needs(graph: DependencyGraph, user: str, needed: str) -> None:
    assert graph.named(needed) in graph.waits_for(graph.named(user))


@pytest.mark.parametrize("kind", ["KubernetesResource", "HelmChart"])
def test_kubectl_keeps_its_network_and_its_rights_to_the_end(
    graph: DependencyGraph, kind: str
) -> None:
    kept = {
        *graph.of_type("AWS::EC2::NatGateway"),
        *graph.of_type("AWS::EC2::Route"),
        *graph.of_type("AWS::EC2::SubnetRouteTableAssociation"),
        graph.named("Cluster/Cluster/ClusterAdminRoleAccess"),
        graph.named("Cluster/Cluster/KubectlProvider/Handler"),
    }
    users = graph.of_type(f"Custom::AWSCDK-EKS-{kind}")
    assert users
    for user in users:
        assert kept <= graph.waits_for(user)


def test_runtimes_take_tasks_without_waiting_for_each_other(graph: DependencyGraph) -> None:
    one, other = graph.named("TinyShapes/Subscription"), graph.named("AnyModel/Subscription")
    assert one not in graph.waits_for(other)
    assert other not in graph.waits_for(one)


def test_runtimes_do_not_wait_for_each_other(graph: DependencyGraph) -> None:
    assert graph.named("AnyModel/Deployment") not in graph.waits_for(
        graph.named("TinyShapes/ScaledObject")
    )
