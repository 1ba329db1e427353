"""A cluster that is there already: what is installed in it, and what it must have."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from aws_cdk import App, Fn, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks as older_eks
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk.assertions import Annotations, Match
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import DependencyGroup

from cdk_stable_diffusion.cluster import (
    VERSIONS,
    Addon,
    Compute,
    ExistingKarpenter,
    ExistingKeda,
    RuntimeCluster,
    SdEksCluster,
)
from cdk_stable_diffusion.cluster.subnets import ISOLATED_WARNING
from tests.manifests.compose import Template, new_app, properties, resources, templates_of
from tests.manifests.graph import DependencyGraph
from tests.manifests.template import manifests_of

SERVICE_TOKEN = "arn:aws:lambda:eu-west-1:123456789012:function:kubectl"
HERE = {"account": "123456789012", "region": "eu-west-1"}
SECURITY_GROUP = "sg-0123456789abcdef0"


def own_cluster(
    stack: Stack, *, nodes: int | None = 2, **given: Any
) -> tuple[eks.Cluster, ec2.Vpc]:
    vpc = ec2.Vpc(stack, "MyVpc", nat_gateways=1)
    given.setdefault("version", eks.KubernetesVersion.V1_35)
    given.setdefault("default_capacity_type", eks.DefaultCapacityType.NODEGROUP)
    cluster = eks.Cluster(
        stack,
        "Mine",
        vpc=vpc,
        default_capacity=nodes,
        **given,
    )
    return cluster, vpc


def on_auto_mode(stack: Stack) -> tuple[eks.Cluster, ec2.Vpc]:
    automatic = eks.DefaultCapacityType.AUTOMODE
    return own_cluster(stack, nodes=None, default_capacity_type=automatic, **kubectl(stack))


def kubectl(stack: Stack) -> dict[str, Any]:
    layer = KubectlV35Layer(stack, "Kubectl")
    return {"kubectl_provider_options": eks.KubectlProviderOptions(kubectl_layer=layer)}


def imported(stack: Stack, *, name: str = "mine", **given: Any) -> tuple[eks.ICluster, ec2.IVpc]:
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "MyVpc",
        vpc_id="vpc-1",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
    )
    attributes = {
        "vpc": vpc,
        "cluster_security_group_id": SECURITY_GROUP,
        "kubectl_provider": eks.KubectlProvider.from_kubectl_provider_attributes(
            stack, "Kubectl", service_token=SERVICE_TOKEN
        ),
        **given,
    }
    cluster = eks.Cluster.from_cluster_attributes(stack, "Mine", cluster_name=name, **attributes)
    return cluster, vpc


def vpc_of(stack: Stack, id: str) -> ec2.IVpc:
    return ec2.Vpc.from_vpc_attributes(
        stack,
        "Other",
        vpc_id=id,
        availability_zones=["eu-west-1a", "eu-west-1b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
    )


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

    def test_waits_for_a_group_of_dependencies(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, nodes=0, **kubectl(stack))
        mine = cluster.add_nodegroup_capacity("First", desired_size=2)
        after = [DependencyGroup(mine)]
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, after=after)
        graph = DependencyGraph(templates_of(app)["Service"])
        before = graph.waits_for(graph.named("Sd/Karpenter/Chart"))
        assert graph.named(mine.node.path.removeprefix("Service/")) in before

    def test_may_be_on_auto_mode(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = on_auto_mode(stack)
        made = SdEksCluster.from_cluster(
            stack, "Sd", cluster=cluster, vpc=vpc, compute=Compute.auto_mode()
        )
        assert made.compute.is_auto_mode

    def test_may_have_a_karpenter_beside_auto_mode(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = on_auto_mode(stack)
        made = SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, **there(stack))
        assert not made.compute.is_auto_mode

    def test_gets_the_addons_that_it_lacks(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, **kubectl(stack))
        lacking = [
            Addon(name="eks-pod-identity-agent"),
            Addon(name="vpc-cni"),
            Addon(name="kube-proxy", version="v1.34.6-eksbuild.29"),
        ]
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, addons=lacking)
        template = templates_of(app)["Service"]
        made = {each["AddonName"]: each for each in properties(template, "AWS::EKS::Addon")}
        # The table's builds are for the table's version of Kubernetes, which this may not have.
        assert "AddonVersion" not in made["eks-pod-identity-agent"]
        assert made["kube-proxy"]["AddonVersion"] == "v1.34.6-eksbuild.29"
        assert "enableNetworkPolicy" in made["vpc-cni"]["ConfigurationValues"]
        graph = DependencyGraph(template)
        agent = graph.named("Sd/Addons/EksPodIdentityAgent")
        assert agent in graph.waits_for(graph.named("Sd/Keda/Chart"))
        assert agent in graph.waits_for(graph.named("Sd/Addons/VpcCni"))
        # Its finalizer is taken off while the plugin is there.
        policy = graph.named("Sd/NetworkPolicy")
        assert graph.named("Sd/Addons/VpcCni") in graph.waits_for(policy)

    def test_lacks_no_addon_by_default(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, **kubectl(stack))
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, addons=None)
        assert properties(templates_of(app)["Service"], "AWS::EKS::Addon") == []


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


class TestVpc:
    """The VPC of the cluster, as far as it is known, however it is told."""

    def test_may_be_imported_twice(self) -> None:
        stack = Stack(App(), "Service")
        cluster, _ = imported(stack)
        same = vpc_of(stack, "vpc-1")
        assert SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=same).vpc is same

    def test_may_be_known_at_deployment_only(self) -> None:
        stack = Stack(App(), "Service")
        cluster, _ = imported(stack)
        same = vpc_of(stack, Fn.import_value("Vpc"))
        assert SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=same).vpc is same

    def test_may_be_unknown_to_the_cluster(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack, vpc=None)
        assert SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc).vpc is vpc

    def test_may_be_looked_up(self) -> None:
        stack = Stack(App(), "Service", env=HERE)
        cluster, _ = imported(stack)
        same = ec2.Vpc.from_lookup(stack, "Other", vpc_id="vpc-1")
        gpus = ec2.SubnetSelection(subnet_group_name="Gpus")
        made = SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=same, subnets=gpus)
        assert len(made.node_subnets) == 2


def test_warns_of_isolated_subnets() -> None:
    stack = Stack(App(), "Service")
    cluster, _ = imported(stack)
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Other",
        vpc_id="vpc-1",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        isolated_subnet_ids=["subnet-1", "subnet-2"],
    )
    isolated = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
    SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, subnets=isolated)
    says = Match.string_like_regexp(f"subnets selects isolated subnets, .*{ISOLATED_WARNING}")
    assert len(Annotations.from_stack(stack).find_warning("/Service/Sd", says)) == 1


class TestRefusesASecondTime:
    def test_a_cluster_of_this_library(self) -> None:
        stack = Stack(App(), "Service")
        made = SdEksCluster(stack, "Cluster")
        with pytest.raises(ValueError, match="cluster is prepared already, once is enough"):
            SdEksCluster.from_cluster(stack, "Sd", cluster=made.cluster, vpc=made.vpc)

    def test_a_cluster_that_is_made(self) -> None:
        app = App()
        stack = Stack(app, "Service")
        cluster, vpc = own_cluster(stack, **kubectl(stack))
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        with pytest.raises(ValueError, match="cluster is prepared already"):
            SdEksCluster.from_cluster(Stack(app, "Second"), "Sd", cluster=cluster, vpc=vpc)

    def test_a_cluster_whose_name_is_known_at_deployment_only(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack, name=Fn.import_value("Name"))
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)
        with pytest.raises(ValueError, match="cluster is prepared already"):
            SdEksCluster.from_cluster(stack, "Again", cluster=cluster, vpc=vpc)

    def test_a_cluster_that_is_imported_twice(self) -> None:
        app = App()
        first, second = (Stack(app, name, env=HERE) for name in ("First", "Second"))
        cluster, vpc = imported(first)
        SdEksCluster.from_cluster(first, "Sd", cluster=cluster, vpc=vpc)
        again, vpc = imported(second)
        with pytest.raises(ValueError, match="cluster is prepared already"):
            SdEksCluster.from_cluster(second, "Sd", cluster=again, vpc=vpc)

    @pytest.mark.parametrize(
        ("name", "env"),
        [("other", HERE), ("mine", {**HERE, "region": "us-east-1"}), ("mine", None)],
    )
    def test_but_no_other_cluster(self, name: str, env: dict[str, str] | None) -> None:
        app = App()
        first, second = Stack(app, "First", env=HERE), Stack(app, "Second", env=env)
        for stack, each in ((first, "mine"), (second, name)):
            cluster, vpc = imported(stack, name=each)
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)

    def test_but_not_after_a_refusal(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack)
        with pytest.raises(ValueError, match="addons is 1"):
            SdEksCluster.from_cluster(
                stack, "Sd", cluster=cluster, vpc=vpc, addons=cast("list[Addon]", 1)
            )
        SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)


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
                "addons leaves out metrics-server: nothing is installed but what addons names",
            ),
            (
                {"addons": [Addon(name="vpc-cni")], "compute": Compute.auto_mode()},
                "addons names vpc-cni: EKS Auto Mode has it built in",
            ),
            ({"after": 1}, "after is 1: a list, such as [nodegroup]"),
            ({"after": "x"}, "after is 'x': a list, such as [nodegroup]"),
            ({"after": ["x"]}, "after has 'x': constructs, such as [nodegroup]"),
        ],
    )
    def test(self, arguments: dict[str, Any], says: str) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = imported(stack)
        with pytest.raises(ValueError) as error:
            SdEksCluster.from_cluster(stack, "Sd", **{"cluster": cluster, "vpc": vpc, **arguments})
        assert says in str(error.value)

    @pytest.mark.parametrize("version", ["1.31", "1.32"])
    def test_an_older_kubernetes(self, version: str) -> None:
        stack = Stack(App(), "Service")
        older = eks.KubernetesVersion.of(version)
        cluster, vpc = own_cluster(stack, version=older, **kubectl(stack))
        with pytest.raises(ValueError, match=f"cluster has Kubernetes {version}: 1.33 or later"):
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc)

    @pytest.mark.parametrize("compute", [None, Compute.karpenter()], ids=["default", "said"])
    def test_to_install_karpenter_on_auto_mode(self, compute: Compute | None) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = on_auto_mode(stack)
        with pytest.raises(
            ValueError, match=r"compute is Compute\.karpenter\(\), the default, but"
        ):
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc, compute=compute)

    def test_auto_mode_on_a_cluster_without(self) -> None:
        stack = Stack(App(), "Service")
        cluster, vpc = own_cluster(stack, **kubectl(stack))
        with pytest.raises(ValueError, match="but cluster is not on EKS Auto Mode: Compute"):
            SdEksCluster.from_cluster(
                stack, "Sd", cluster=cluster, vpc=vpc, compute=Compute.auto_mode()
            )

    def test_another_vpc(self) -> None:
        stack = Stack(App(), "Service")
        cluster, _ = own_cluster(stack, **kubectl(stack))
        with pytest.raises(
            ValueError, match="vpc is Service/Other, but cluster is in Service/MyVpc: the VPC of"
        ):
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=ec2.Vpc(stack, "Other"))

    def test_another_vpc_than_was_imported(self) -> None:
        stack = Stack(App(), "Service")
        cluster, _ = imported(stack)
        with pytest.raises(ValueError, match="vpc is Service/Other, but cluster is in Service/MyV"):
            SdEksCluster.from_cluster(stack, "Sd", cluster=cluster, vpc=vpc_of(stack, "vpc-2"))

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
