"""A cluster on EKS Auto Mode."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import Any

import pytest
from aws_cdk import Stack

from cdk_stable_diffusion.cluster import Compute, SdEksCluster
from cdk_stable_diffusion.cluster.system_pool import SYSTEM_POOL
from tests.manifests.compose import Template, new_app, properties, resources, templates_of
from tests.manifests.graph import DependencyGraph
from tests.manifests.template import manifest_of, manifests_of


@cache
def auto_mode() -> tuple[SdEksCluster, Template]:
    app = new_app()
    cluster = SdEksCluster(Stack(app, "Service"), "Cluster", compute=Compute.auto_mode())
    return cluster, templates_of(app)["Service"]


@pytest.fixture(scope="module")
def template() -> Template:
    return auto_mode()[1]


def role(template: Template, reference: dict[str, Any]) -> dict[str, Any]:
    return dict(template["Resources"][reference["Fn::GetAtt"][0]]["Properties"])


def policies(properties: dict[str, Any]) -> set[str]:
    return {arn["Fn::Join"][1][-1].rpartition("/")[2] for arn in properties["ManagedPolicyArns"]}


def test_compute_is_the_one_place_of_what_differs() -> None:
    karpenter, auto = Compute.karpenter(), Compute.auto_mode()
    assert (karpenter.is_auto_mode, auto.is_auto_mode) == (False, True)
    assert karpenter.node_class_kind == "EC2NodeClass"
    assert auto.node_class_kind == "NodeClass"
    assert karpenter.node_class_api_version == "karpenter.k8s.aws/v1"
    assert auto.node_class_api_version == "eks.amazonaws.com/v1"
    assert karpenter.instance_label("gpu-count") == "karpenter.k8s.aws/instance-gpu-count"
    assert auto.instance_label("gpu-count") == "eks.amazonaws.com/instance-gpu-count"


def test_aws_runs_nodes_storage_and_load_balancers(template: Template) -> None:
    (control_plane,) = properties(template, "AWS::EKS::Cluster")
    # Nodes of a pool of Auto Mode's own would outlive the cluster: they hold its network and role.
    assert control_plane["ComputeConfig"] == {"Enabled": True, "NodePools": []}
    assert control_plane["StorageConfig"]["BlockStorage"]["Enabled"] is True
    assert control_plane["KubernetesNetworkConfig"]["ElasticLoadBalancing"]["Enabled"] is True
    assert control_plane["BootstrapSelfManagedAddons"] is False


def test_control_plane_may_do_what_auto_mode_needs(template: Template) -> None:
    (control_plane,) = properties(template, "AWS::EKS::Cluster")
    made = role(template, control_plane["RoleArn"])
    assert policies(made) == {
        "AmazonEKSClusterPolicy",
        "AmazonEKSComputePolicy",
        "AmazonEKSBlockStoragePolicy",
        "AmazonEKSLoadBalancingPolicy",
        "AmazonEKSNetworkingPolicy",
    }
    actions = {each["Action"] for each in made["AssumeRolePolicyDocument"]["Statement"]}
    assert actions == {"sts:AssumeRole", "sts:TagSession"}


def test_has_no_node_group_and_nothing_of_karpenter(template: Template) -> None:
    for kind in (
        "AWS::EKS::Nodegroup",
        "AWS::IAM::InstanceProfile",
        "AWS::SQS::Queue",
        "AWS::Events::Rule",
        "AWS::IAM::ManagedPolicy",
    ):
        assert resources(template, kind) == [], kind
    charts = [each["Release"] for each in properties(template, "Custom::AWSCDK-EKS-HelmChart")]
    assert charts == ["keda"]


def test_gpu_nodes_and_system_nodes_have_roles_and_entries_of_their_own(
    template: Template,
) -> None:
    entries = [
        each for each in properties(template, "AWS::EKS::AccessEntry") if each.get("Type") == "EC2"
    ]
    assert len({json.dumps(entry["PrincipalArn"]) for entry in entries}) == len(entries) == 2
    for entry in entries:
        (policy,) = entry["AccessPolicies"]
        assert policy["AccessScope"] == {"Type": "cluster"}
        assert policy["PolicyArn"]["Fn::Join"][1][-1].endswith("/AmazonEKSAutoNodePolicy")
        assert policies(role(template, entry["PrincipalArn"])) == {
            "AmazonEKSWorkerNodeMinimalPolicy",
            "AmazonEC2ContainerRegistryPullOnly",
        }


def test_the_systems_pods_get_nodes_of_both_architectures_on_demand(template: Template) -> None:
    pool = manifest_of("NodePool", SYSTEM_POOL, template)["spec"]
    requirements = {each["key"]: each for each in pool["template"]["spec"]["requirements"]}
    assert requirements["karpenter.sh/capacity-type"]["values"] == ["on-demand"]
    assert requirements["kubernetes.io/arch"]["values"] == ["amd64", "arm64"]
    # Pods without tolerations, such as those of add-ons, have no other nodes.
    assert "taints" not in pool["template"]["spec"]
    node_class = manifest_of("NodeClass", SYSTEM_POOL, template)["spec"]
    assert len(node_class["subnetSelectorTerms"]) == 2
    assert pool["template"]["spec"]["nodeClassRef"]["name"] == SYSTEM_POOL


def test_kubectl_outlasts_the_end_of_the_systems_nodes(template: Template) -> None:
    pool = manifest_of("NodePool", SYSTEM_POOL, template)["spec"]
    assert pool["template"]["spec"]["terminationGracePeriod"] == "10m"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        *itertools.pairwise(
            (
                "Cluster/Keda/Chart",
                "Cluster/SystemNodes/NodePool",
                "Cluster/SystemNodes/NodeClass",
                "Cluster/SystemNodes/Identity/AccessEntry",
                "Cluster/Cluster",
            )
        ),
        ("Cluster/Addons/MetricsServer", "Cluster/SystemNodes/NodePool"),
        ("Cluster/Addons/AmazonCloudwatchObservability", "Cluster/SystemNodes/NodePool"),
        ("Cluster/SystemNodes/NodeClass", "Cluster/SystemNodes/Identity/Role"),
        ("Cluster/NetworkPolicy", "Cluster/NetworkPolicyController"),
    ],
)
def test_is_deleted_before(template: Template, first: str, second: str) -> None:
    graph = DependencyGraph(template)
    assert graph.named(second) in graph.waits_for(graph.named(first))
    assert graph.named(first) not in graph.waits_for(graph.named(second))


def test_the_name_of_the_systems_pool_is_taken() -> None:
    app = new_app()
    cluster = SdEksCluster(Stack(app, "Service"), "Cluster", compute=Compute.auto_mode())
    with pytest.raises(ValueError, match="already has a node pool named 'stable-diffusion-system'"):
        cluster._pool_names.take(SYSTEM_POOL)


def test_has_the_addons_that_are_not_built_in(template: Template) -> None:
    assert {each["AddonName"] for each in properties(template, "AWS::EKS::Addon")} == {
        "metrics-server",
        "amazon-cloudwatch-observability",
    }


def test_keda_runs_on_the_systems_nodes(template: Template) -> None:
    (chart,) = properties(template, "Custom::AWSCDK-EKS-HelmChart")
    # It tolerates no taint, and GPU nodes have taints.
    assert not {"affinity", "nodeSelector", "tolerations"} & set(json.loads(chart["Values"]))


def test_network_policies_are_applied(template: Template) -> None:
    switch = manifest_of("ConfigMap", "amazon-vpc-cni", template)
    assert switch["metadata"]["namespace"] == "kube-system"
    assert switch["data"] == {"enable-network-policy-controller": "true"}


def test_the_switch_of_network_policies_stays_for_those_of_others(template: Template) -> None:
    (switch,) = (
        each
        for each in resources(template, "Custom::AWSCDK-EKS-KubernetesResource")
        if "amazon-vpc-cni" in json.dumps(each["Properties"]["Manifest"])
    )
    assert switch["DeletionPolicy"] == "Retain"


def test_dns_is_reached_although_no_pod_is_it(template: Template) -> None:
    dns, *_ = manifest_of("NetworkPolicy", "runtimes", template)["spec"]["egress"]
    assert dns["to"] == [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}}]
    assert [each["port"] for each in dns["ports"]] == [53, 53]


def test_only_auto_mode_has_the_switch() -> None:
    app = new_app()
    SdEksCluster(Stack(app, "Service"), "Cluster")
    kinds = {each["kind"] for each in manifests_of(templates_of(app)["Service"])}
    assert "ConfigMap" not in kinds


def test_says_what_it_has_not() -> None:
    cluster, _ = auto_mode()
    assert cluster.compute == Compute.auto_mode()
    assert cluster.instance_profile is None
    assert cluster.system_nodegroup is None
    assert cluster.karpenter_chart is None
    assert cluster.karpenter_custom_resources_chart is None
    assert cluster.karpenter_role is None
    assert cluster.interruption_queue is None


def test_the_entry_of_gpu_nodes_goes_after_what_needs_it() -> None:
    cluster, template = auto_mode()
    graph = DependencyGraph(template)
    assert cluster.node_access_entry in cluster.before_nodes
    chart = graph.named("Cluster/Keda/Chart")
    assert graph.named("Cluster/Keda/OperatorAssociation") in graph.waits_for(chart)
    assert graph.named("Cluster/Cluster") in graph.waits_for(chart)
