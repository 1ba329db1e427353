"""A cluster that is there already: what is installed in it, and what it must have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks as older_eks
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer

from cdk_stable_diffusion.cluster import (
    VERSIONS,
    Addon,
    Compute,
    ExistingKarpenter,
    ExistingKeda,
    RuntimeCluster,
    SdEksCluster,
)
from tests.manifests.compose import Template, new_app, properties, resources, templates_of
from tests.manifests.graph import DependencyGraph
from tests.manifests.template import manifests_of

SERVICE_TOKEN = "arn:aws:lambda:eu-west-1:123456789012:function:kubectl"
SECURITY_GROUP = "sg-0123456789abcdef0"


def own_cluster(stack: Stack, *, nodes: int = 2, **given: Any) -> tuple[eks.Cluster, ec2.Vpc]:
    vpc = ec2.Vpc(stack, "MyVpc", nat_gateways=1)
    cluster = eks.Cluster(
        stack,
        "Mine",
        vpc=vpc,
        version=eks.KubernetesVersion.V1_35,
        default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
        default_capacity=nodes,
        **given,
    )
    return cluster, vpc


def kubectl(stack: Stack) -> dict[str, Any]:
    layer = KubectlV35Layer(stack, "Kubectl")
    return {"kubectl_provider_options": eks.KubectlProviderOptions(kubectl_layer=layer)}


def imported(stack: Stack, **given: Any) -> tuple[eks.ICluster, ec2.IVpc]:
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "MyVpc",
        vpc_id="vpc-1",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
    )
    attributes = {
        "cluster_security_group_id": SECURITY_GROUP,
        "kubectl_provider": eks.KubectlProvider.from_kubectl_provider_attributes(
            stack, "Kubectl", service_token=SERVICE_TOKEN
        ),
        **given,
    }
    cluster = eks.Cluster.from_cluster_attributes(
        stack, "Mine", cluster_name="mine", vpc=vpc, **attributes
    )
    return cluster, vpc


def there(stack: Stack) -> dict[str, Any]:
    """Return Karpenter and KEDA that are there."""
    return {
        "karpenter": ExistingKarpenter(
            node_role=iam.Role.from_role_name(stack, "Nodes", "nodes"),
            instance_profile=iam.InstanceProfile.from_instance_profile_name(
                stack, "Profile", "nodes"
            ),
        ),
        "keda": ExistingKeda(operator_role=iam.Role.from_role_name(stack, "Keda", "keda")),
    }


def kinds(template: Template) -> list[str]:
    return sorted(f"{each['kind']} {each['metadata']['name']}" for each in manifests_of(template))


NAMESPACE_AND_MORE = [
    "Namespace stable-diffusion",
    "NetworkPolicy runtimes",
    "PriorityClass stable-diffusion-high",
    "PriorityClass stable-diffusion-low",
    "PriorityClass stable-diffusion-normal",
]


class TestThatIsMade:
    @pytest.fixture(scope="class")
    @staticmethod
    def template() -> Template:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, **kubectl(stack))
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        return templates_of(app)["Service"]

    def test_gets_karpenter_and_keda(self, template: Template) -> None:
        charts = {
            each["Release"]: each["Version"]
            for each in properties(template, "Custom::AWSCDK-EKS-HelmChart")
        }
        assert charts == {
            "karpenter-crd": VERSIONS.karpenter,
            "karpenter": VERSIONS.karpenter,
            "keda": VERSIONS.keda,
        }
        assert len(resources(template, "AWS::Events::Rule")) == 5
        entries = [each.get("Type") for each in properties(template, "AWS::EKS::AccessEntry")]
        assert entries.count("EC2_LINUX") == 1

    def test_gets_what_runtimes_share(self, template: Template) -> None:
        assert kinds(template) == ["Namespace keda", *NAMESPACE_AND_MORE]

    def test_gets_no_addon_and_no_second_cluster(self, template: Template) -> None:
        assert resources(template, "AWS::EKS::Addon") == []
        assert len(resources(template, "AWS::EKS::Cluster")) == 1
        assert len(resources(template, "AWS::EKS::Nodegroup")) == 1

    def test_has_nodes_before_charts(self, template: Template) -> None:
        graph = DependencyGraph(template)
        (nodegroup,) = graph.of_type("AWS::EKS::Nodegroup")
        for chart in graph.of_type("Custom::AWSCDK-EKS-HelmChart"):
            assert nodegroup in graph.waits_for(chart)
            assert chart not in graph.waits_for(chart)

    def test_lets_keda_run_wherever_it_may(self, template: Template) -> None:
        (keda,) = (
            json.loads(each["Values"])
            for each in properties(template, "Custom::AWSCDK-EKS-HelmChart")
            if each["Release"] == "keda"
        )
        assert not {"affinity", "nodeSelector", "tolerations"} & set(keda)

    def test_may_be_in_another_stack(self) -> None:
        app = new_app()
        base = Stack(app, "Base")
        cluster, vpc = own_cluster(base, **kubectl(base))
        SdEksCluster.from_cluster(Stack(app, "Service"), "Sd", cluster=cluster, vpc=vpc)
        templates = templates_of(app)
        assert len(resources(templates["Service"], "Custom::AWSCDK-EKS-HelmChart")) == 3
        assert resources(templates["Base"], "Custom::AWSCDK-EKS-HelmChart") == []

    def test_waits_for_what_the_user_says_instead(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, nodes=0, **kubectl(stack))
        mine = cluster.add_nodegroup_capacity("First", desired_size=2)
        other = cluster.add_nodegroup_capacity("Second", desired_size=2)
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, after=[mine])
        graph = DependencyGraph(templates_of(app)["Service"])
        before = graph.waits_for(graph.named("Sd/Karpenter/Chart"))
        assert graph.named(mine.node.path.removeprefix("Service/")) in before
        assert graph.named(other.node.path.removeprefix("Service/")) not in before

    def test_gets_the_addons_that_it_lacks(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, **kubectl(stack))
        lacking = [Addon(name="eks-pod-identity-agent"), Addon(name="vpc-cni")]
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, addons=lacking)
        template = templates_of(app)["Service"]
        made = {each["AddonName"]: each for each in properties(template, "AWS::EKS::Addon")}
        assert made["eks-pod-identity-agent"]["AddonVersion"] == VERSIONS.addon(
            "eks-pod-identity-agent"
        )
        assert "enableNetworkPolicy" in made["vpc-cni"]["ConfigurationValues"]
        graph = DependencyGraph(template)
        agent = graph.named("Sd/Addons/EksPodIdentityAgent")
        assert agent in graph.waits_for(graph.named("Sd/Keda/Chart"))
        assert agent in graph.waits_for(graph.named("Sd/Addons/VpcCni"))
        # Its finalizer is taken off while the plugin is there.
        policy = graph.named("Sd/NetworkPolicy")
        assert graph.named("Sd/Addons/VpcCni") in graph.waits_for(policy)


class TestThatIsImported:
    def test_is_used_through_its_kubectl_provider(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = imported(stack)
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        template = templates_of(app)["Service"]
        for kind in ("Custom::AWSCDK-EKS-HelmChart", "Custom::AWSCDK-EKS-KubernetesResource"):
            assert {each["ServiceToken"] for each in properties(template, kind)} == {SERVICE_TOKEN}
            assert {each["ClusterName"] for each in properties(template, kind)} == {"mine"}
        assert resources(template, "AWS::Lambda::Function") == []

    def test_keeps_the_karpenter_and_the_keda_that_it_has(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = imported(stack)
        given = there(stack)
        made = SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, **given)
        template = templates_of(app)["Service"]
        assert {each["Type"] for each in template["Resources"].values()} == {
            "Custom::AWSCDK-EKS-KubernetesResource"
        }
        assert kinds(template) == NAMESPACE_AND_MORE
        assert made.node_role is given["karpenter"].node_role
        assert made.instance_profile is given["karpenter"].instance_profile
        assert made.keda_operator_role is given["keda"].operator_role

    def test_has_what_runtimes_need(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack)
        made = SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        assert isinstance(made, RuntimeCluster)
        assert not isinstance(made, SdEksCluster)
        assert made.cluster is cluster
        assert made.vpc is vpc
        assert [subnet.subnet_id for subnet in made.node_subnets] == ["subnet-1", "subnet-2"]
        assert made.namespace == "stable-diffusion"
        assert made.namespace_manifest in made.before_pods
        assert made.namespace_manifest in made.before_scaling
        assert made.network_policy in made.before_pods
        assert made.cluster.cluster_security_group_id == SECURITY_GROUP

    def test_may_be_on_auto_mode(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = imported(stack)
        made = SdEksCluster.from_cluster(
            stack, "Sd", cluster=cluster, vpc=vpc, compute=Compute.auto_mode()
        )
        template = templates_of(app)["Service"]
        (entry,) = properties(template, "AWS::EKS::AccessEntry")
        assert entry["Type"] == "EC2"
        assert "ConfigMap amazon-vpc-cni" in kinds(template)
        charts = [each["Release"] for each in properties(template, "Custom::AWSCDK-EKS-HelmChart")]
        assert charts == ["keda"]
        assert made.instance_profile is None


class TestRefuses:
    def test_a_cluster_without_kubectl(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = own_cluster(stack)
        with pytest.raises(
            ValueError, match=r"from_cluster Service/Sd: cluster has no kubectl provider, by which"
        ):
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        assert stack.node.try_find_child("Sd") is None

    def test_an_imported_cluster_without_kubectl_and_security_group(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack, kubectl_provider=None, cluster_security_group_id=None)
        with pytest.raises(ValueError) as error:
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        assert "kubectl_provider where it is imported" in str(error.value)
        assert "cluster has no cluster_security_group_id" in str(error.value)

    def test_a_cluster_of_the_older_module(self) -> None:
        stack = Stack(App(), "Service")
        _, vpc = imported(stack)
        older: Any = older_eks.Cluster(
            stack,
            "Older",
            vpc=ec2.Vpc(stack, "OlderVpc"),
            version=older_eks.KubernetesVersion.V1_33,
            default_capacity=0,
            kubectl_layer=KubectlV35Layer(stack, "OlderKubectl"),
        )
        with pytest.raises(ValueError, match="cluster is of aws_eks: a cluster of aws_eks_v2"):
            SdEksCluster.from_cluster(stack, "Sd", cluster=older, vpc=vpc)

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"cluster": "mine"}, "cluster is 'mine': a cluster of aws_eks_v2, made or imported"),
            ({"vpc": "vpc-1"}, "vpc is 'vpc-1': a VPC, such as an ec2.Vpc"),
            ({"subnets": ["subnet-1"]}, "subnets is ['subnet-1']: an ec2.SubnetSelection"),
            (
                {"subnets": ec2.SubnetSelection(availability_zones=["eu-west-1a"])},
                "subnets selects subnets in one zone",
            ),
            ({"compute": "auto"}, "compute is 'auto': a Compute"),
            ({"karpenter": True}, "karpenter is True: ExistingKarpenter"),
            ({"keda": True}, "keda is True: ExistingKeda"),
            ({"addons": "vpc-cni"}, "addons is 'vpc-cni': a list of add-ons"),
            (
                {"addons": [Addon.left_out("metrics-server")]},
                "addons leaves out metrics-server: only nothing can be left out",
            ),
            (
                {"addons": [Addon(name="vpc-cni")], "compute": Compute.auto_mode()},
                "addons names vpc-cni: EKS Auto Mode has it built in",
            ),
            ({"after": 1}, "after is 1: a list, such as [nodegroup]"),
        ],
    )
    def test(self, arguments: dict[str, Any], says: str) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack)
        with pytest.raises(ValueError) as error:
            SdEksCluster.from_cluster(stack, "Sd", **{"cluster": cluster, "vpc": vpc, **arguments})
        assert says in str(error.value)

    def test_karpenter_where_auto_mode_has_its_own(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack)
        with pytest.raises(ValueError, match="karpenter is given: EKS Auto Mode has its own"):
            SdEksCluster.from_cluster(
                stack,
                "Sd",
                cluster=cluster,
                vpc=vpc,
                compute=Compute.auto_mode(),
                karpenter=there(stack)["karpenter"],
            )

    def test_what_is_no_role(self) -> None:
        role: Any = "arn:aws:iam::123456789012:role/nodes"
        with pytest.raises(ValueError, match=r"ExistingKarpenter: node_role is 'arn.*: a role"):
            ExistingKarpenter(node_role=role)
        with pytest.raises(ValueError, match=r"ExistingKeda: operator_role is 'arn.*: a role"):
            ExistingKeda(operator_role=role)
