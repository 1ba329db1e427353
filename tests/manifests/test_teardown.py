"""In every kind of app, what needs something is made after it and deleted before it.

The rules are about what resources are and refer to, not about what they are called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import Compute, SdEksCluster
from cdk_stable_diffusion.runtime import GpuNodes, ImageStart, Model, SdNodePool, SdRuntime
from tests.manifests.app_graph import HELM_CHART, KUBERNETES, AppGraph, Node
from tests.manifests.compose import IMAGE, new_app

NODE_CLASSES = ("EC2NodeClass", "NodeClass")
NETWORK = (
    "AWS::EC2::InternetGateway",
    "AWS::EC2::NatGateway",
    "AWS::EC2::Route",
    "AWS::EC2::SubnetRouteTableAssociation",
    "AWS::EC2::VPCGatewayAttachment",
)
POLICIES = ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy")


def own_nodes() -> AppGraph:
    """Two runtimes with nodes of their own, in one stack."""
    app = new_app()
    stack = Stack(app, "Service")
    api, cluster = SdApi(stack, "Api"), SdEksCluster(stack, "Cluster")
    for id, model in (("Sdxl", Model.static("sdxl")), ("Any", Model.dynamic())):
        SdRuntime(stack, id, api=api, cluster=cluster, model=model, image=IMAGE)
    return AppGraph(app)


def shared_nodes_in_four_stacks() -> AppGraph:
    """An API, a cluster, a pool, and two runtimes on it, with stacks of their own."""
    app = new_app()
    cluster = SdEksCluster(Stack(app, "ClusterStack"), "Cluster")
    api = SdApi(Stack(app, "ApiStack"), "Api")
    pool = SdNodePool(Stack(app, "PoolStack"), "Gpus", cluster=cluster, nodes=GpuNodes(max_gpus=10))
    stack = Stack(app, "RuntimeStack")
    for id, model in (("Sdxl", Model.static("sdxl")), ("Any", Model.dynamic())):
        SdRuntime(stack, id, api=api, cluster=cluster, model=model, image=IMAGE, nodes=pool)
    return AppGraph(app)


def snapshot() -> AppGraph:
    """A runtime whose nodes start from a snapshot of its image."""
    app = new_app()
    stack = Stack(app, "Service")
    nodes = GpuNodes(image_start=ImageStart.snapshot(volume=Size.gibibytes(60)))
    SdRuntime(
        stack,
        "Sdxl",
        api=SdApi(stack, "Api"),
        cluster=SdEksCluster(stack, "Cluster"),
        model=Model.static("sdxl"),
        image=IMAGE,
        nodes=nodes,
    )
    return AppGraph(app)


def auto_mode() -> AppGraph:
    """A runtime in a cluster with EKS Auto Mode."""
    app = new_app()
    stack = Stack(app, "Service")
    SdRuntime(
        stack,
        "Sdxl",
        api=SdApi(stack, "Api"),
        cluster=SdEksCluster(stack, "Cluster", compute=Compute.auto_mode()),
        model=Model.static("sdxl"),
        image=IMAGE,
    )
    return AppGraph(app)


def cluster_of_the_user() -> AppGraph:
    """A runtime in a cluster that the user makes, and that lacks Karpenter and KEDA."""
    app = new_app()
    stack = Stack(app, "Service")
    vpc = ec2.Vpc(stack, "Vpc", max_azs=2)
    made = eks.Cluster(
        stack,
        "Mine",
        version=eks.KubernetesVersion.V1_35,
        vpc=vpc,
        default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
        default_capacity=2,
        kubectl_provider_options=eks.KubectlProviderOptions(
            kubectl_layer=KubectlV35Layer(stack, "KubectlLayer")
        ),
    )
    SdRuntime(
        stack,
        "Sdxl",
        api=SdApi(stack, "Api"),
        cluster=SdEksCluster.from_cluster(stack, "Cluster", cluster=made, vpc=vpc),
        model=Model.static("sdxl"),
        image=IMAGE,
    )
    return AppGraph(app)


APPS: tuple[Callable[[], AppGraph], ...] = (
    own_nodes,
    shared_nodes_in_four_stacks,
    snapshot,
    auto_mode,
    cluster_of_the_user,
)


@pytest.fixture(scope="module", params=APPS, ids=lambda app: app.__name__)
def app(request: pytest.FixtureRequest) -> AppGraph:
    made: AppGraph = request.param()
    return made


def chart(app: AppGraph, name: str) -> Node | None:
    """Return the Helm chart of a release, or None where the app has none."""
    found = [n for n in app.of_type(HELM_CHART) if app.properties(n)["Release"] == name]
    return found[0] if found else None


def rights_of_pods(app: AppGraph, namespace: str, service_account: str) -> set[Node]:
    """Return what gives pods their rights: the association, the role and all its policies."""
    (association,) = (
        node
        for node in app.of_type("AWS::EKS::PodIdentityAssociation")
        if app.properties(node)["Namespace"] == namespace
        and app.properties(node)["ServiceAccount"] == service_account
    )
    (role,) = app.referred_by(association, "RoleArn")
    return {association, role, *policies_of(app, role)}


def policies_of(app: AppGraph, role: Node) -> set[Node]:
    return {node for node in app.of_type(*POLICIES) if role in app.referred_by(node, "Roles")}


def test_nothing_waits_for_itself(app: AppGraph) -> None:
    assert [node for node in app.nodes if node in app.waits_for(node)] == []


def test_a_scaler_goes_before_what_it_scales_and_reads(app: AppGraph) -> None:
    scalers = app.manifests("ScaledObject")
    assert scalers
    for node, scaler in scalers.items():
        (authentication,) = {
            trigger["authenticationRef"]["name"] for trigger in scaler["spec"]["triggers"]
        }
        queues = app.referred_by(node, "Manifest") & set(app.of_type("AWS::SQS::Queue"))
        assert len(queues) == len(scaler["spec"]["triggers"])
        readers = {
            policy
            for policy in app.of_type(*POLICIES)
            if queues <= app.referred_by(policy, "PolicyDocument")
            and "sqs:GetQueueAttributes" in str(app.properties(policy))
            and rights_of_pods(app, "keda", "keda-operator") & app.referred_by(policy, "Roles")
        }
        assert len(readers) == 1
        assert {
            app.manifest("Deployment", scaler["spec"]["scaleTargetRef"]["name"]),
            app.manifest("TriggerAuthentication", authentication),
            *readers,
            *queues,
        } <= app.waits_for(node)


def test_pods_go_before_their_nodes_their_rights_and_their_place(app: AppGraph) -> None:
    deployments = app.manifests("Deployment")
    assert deployments
    for node, deployment in deployments.items():
        pod = deployment["spec"]["template"]["spec"]
        namespace = deployment["metadata"]["namespace"]
        pools = {
            pool
            for pool, it in app.manifests("NodePool").items()
            if pod["nodeSelector"].items()
            <= it["spec"]["template"].get("metadata", {}).get("labels", {}).items()
        }
        assert len(pools) == 1
        assert {
            *pools,
            app.manifest("ServiceAccount", pod["serviceAccountName"]),
            app.manifest("Namespace", namespace),
            app.manifest("PriorityClass", pod["priorityClassName"]),
            *app.manifests("NetworkPolicy"),
            *rights_of_pods(app, namespace, pod["serviceAccountName"]),
        } <= app.waits_for(node)


def test_nodes_go_before_their_class_which_goes_before_what_launches_them(app: AppGraph) -> None:
    pools = app.manifests("NodePool")
    assert pools
    for node, pool in pools.items():
        reference = pool["spec"]["template"]["spec"]["nodeClassRef"]
        assert app.manifest(reference["kind"], reference["name"]) in app.waits_for(node)
    for node in app.manifests(*NODE_CLASSES):
        waited_for = app.waits_for(node)
        # Subnets, role or instance profile, snapshot: all that it names.
        assert app.referred_by(node, "Manifest") <= waited_for
        roles = {
            role
            for each in app.referred_by(node, "Manifest")
            for role in ({each} | app.referred_by(each, "Roles"))
            if app.resource(role)["Type"] == "AWS::IAM::Role"
        }
        assert len(roles) == 1
        entries = {
            entry
            for entry in app.of_type("AWS::EKS::AccessEntry")
            if roles & app.referred_by(entry, "PrincipalArn")
        }
        assert entries
        assert entries <= waited_for
        karpenter = chart(app, "karpenter")
        if karpenter is not None:
            assert karpenter in waited_for


def test_pods_that_still_drain_with_their_nodes_keep_their_rights(app: AppGraph) -> None:
    """A pool's deletion ends its nodes, and so the last pods: a runtime's own pool waits."""
    for node, deployment in app.manifests("Deployment").items():
        name = deployment["metadata"]["name"]
        for pool, it in app.manifests("NodePool").items():
            if it["metadata"]["name"] == name:
                rights = rights_of_pods(app, deployment["metadata"]["namespace"], name)
                assert rights <= app.waits_for(pool), node


def test_charts_go_before_their_nodes_and_their_rights(app: AppGraph) -> None:
    keda, karpenter, definitions = (
        chart(app, name) for name in ("keda", "karpenter", "karpenter-crd")
    )
    assert keda is not None
    nodegroups = set(app.of_type("AWS::EKS::Nodegroup"))
    assert rights_of_pods(app, "keda", "keda-operator") <= app.waits_for(keda) | _later(app, keda)
    assert app.manifest("Namespace", "keda") in app.waits_for(keda)
    for each in (keda, karpenter, definitions):
        if each is not None:
            assert nodegroups <= app.waits_for(each)
    if karpenter is None:
        assert not nodegroups
        return
    assert definitions is not None
    assert nodegroups
    waited_for = app.waits_for(karpenter)
    assert definitions in waited_for
    assert rights_of_pods(app, "kube-system", "karpenter") <= waited_for
    assert len(rights_of_pods(app, "kube-system", "karpenter")) == 2 + 6
    (queue,) = app.referred_by(karpenter, "Values") & set(app.of_type("AWS::SQS::Queue"))
    rules = {rule for rule in app.of_type("AWS::Events::Rule") if queue in _of(app, rule)}
    assert len(rules) == 5
    assert {queue, *rules} <= waited_for


def _later(app: AppGraph, chart: Node) -> set[Node]:
    """Return what runtimes add to the operator's rights; they need the chart, not it them."""
    return {
        node
        for node in app.of_type("AWS::IAM::Policy")
        if "sqs:GetQueueAttributes" in str(app.properties(node))
    }


def _of(app: AppGraph, node: Node) -> set[Node]:
    return app.referred_by(node)


def test_scalers_go_before_the_chart_that_defines_them(app: AppGraph) -> None:
    keda = chart(app, "keda")
    for node in app.manifests("ScaledObject", "TriggerAuthentication"):
        assert keda in app.waits_for(node)


def test_what_is_in_the_cluster_goes_before_kubectl_and_its_way_to_the_cluster(
    app: AppGraph,
) -> None:
    (cluster,) = app.of_type("AWS::EKS::Cluster")
    network = app.of_type(*NETWORK)
    assert network
    handlers = [
        node
        for node in app.of_type("AWS::Lambda::Function")
        if "kubectl" in str(app.properties(node).get("Description", ""))
    ]
    assert handlers
    needed = {cluster, *network, *handlers}
    for handler in handlers:
        (role,) = app.referred_by(handler, "Role")
        needed |= {role, *policies_of(app, role)}
        needed |= {
            entry
            for entry in app.of_type("AWS::EKS::AccessEntry")
            if role in app.referred_by(entry, "PrincipalArn")
        }
    users = app.of_type(HELM_CHART, KUBERNETES)
    assert users
    for user in users:
        missing: Any = needed - app.waits_for(user)
        assert not missing, (user, missing)


def test_nodes_of_the_system_go_before_the_cluster(app: AppGraph) -> None:
    (cluster,) = app.of_type("AWS::EKS::Cluster")
    for nodegroup in app.of_type("AWS::EKS::Nodegroup"):
        assert cluster in app.waits_for(nodegroup)
        (role,) = app.referred_by(nodegroup, "NodeRole")
        assert role in app.waits_for(nodegroup)
    for addon in app.of_type("AWS::EKS::Addon", "AWS::EKS::PodIdentityAssociation"):
        assert cluster in app.waits_for(addon)
