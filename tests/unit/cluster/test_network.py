"""The network of a cluster: which subnets, and which endpoints of AWS services."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Annotations, Match

from cdk_stable_diffusion.cluster import Addon, Compute, SdEksCluster, VpcEndpoints
from cdk_stable_diffusion.cluster.addons import NO_NETWORK_POLICY_WARNING
from cdk_stable_diffusion.cluster.subnets import ISOLATED_WARNING
from tests.manifests.compose import Template, new_app, properties, resources, templates_of
from tests.manifests.graph import DependencyGraph

SERVICES = {
    "ecr.api",
    "ecr.dkr",
    "sqs",
    "sns",
    "sts",
    "ec2",
    "eks",
    "eks-auth",
    "ssm",
    "ssmmessages",
    "ec2messages",
    "logs",
    "monitoring",
    "xray",
}


def three_zones(app: App) -> ec2.Vpc:
    stack = Stack(app, "Service", env={"account": "123456789012", "region": "eu-west-1"})
    return ec2.Vpc(
        stack,
        "Mine",
        availability_zones=[f"eu-west-1{zone}" for zone in "abc"],
        nat_gateways=1,
        subnet_configuration=[
            ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC),
            ec2.SubnetConfiguration(
                name="Apps", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=24
            ),
            ec2.SubnetConfiguration(
                name="Gpus", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=20
            ),
        ],
    )


def interfaces(template: Template) -> list[dict[str, Any]]:
    return [
        each
        for each in properties(template, "AWS::EC2::VPCEndpoint")
        if each["VpcEndpointType"] == "Interface"
    ]


def service(endpoint: Mapping[str, Any]) -> str:
    name = endpoint["ServiceName"]
    text = name if isinstance(name, str) else str(name["Fn::Join"][1][-1])
    return text.removeprefix("com.amazonaws").removeprefix(".eu-west-1").removeprefix(".")


def names(value: object) -> str:
    return json.dumps(value)


class TestSubnets:
    @pytest.fixture
    def app(self) -> App:
        return new_app()

    def test_of_the_users_choice_get_nodes_and_control_plane(self, app: App) -> None:
        vpc = three_zones(app)
        chosen = ec2.SubnetSelection(
            subnet_group_name="Gpus", availability_zones=["eu-west-1a", "eu-west-1c"]
        )
        cluster = SdEksCluster(Stack.of(vpc), "Cluster", vpc=vpc, subnets=chosen)
        template = templates_of(app)["Service"]
        (group,) = properties(template, "AWS::EKS::Nodegroup")
        (control_plane,) = properties(template, "AWS::EKS::Cluster")
        assert "GpusSubnet1" in names(group["Subnets"])
        assert "GpusSubnet3" in names(group["Subnets"])
        assert len(group["Subnets"]) == 2
        assert control_plane["ResourcesVpcConfig"]["SubnetIds"] == group["Subnets"]
        assert [subnet.availability_zone for subnet in cluster.node_subnets] == [
            "eu-west-1a",
            "eu-west-1c",
        ]

    def test_run_the_functions_of_kubectl_too(self, app: App) -> None:
        vpc = three_zones(app)
        chosen = ec2.SubnetSelection(subnet_group_name="Gpus")
        SdEksCluster(Stack.of(vpc), "Cluster", vpc=vpc, subnets=chosen)
        functions = properties(templates_of(app)["Service"], "AWS::Lambda::Function")
        places = [each["VpcConfig"]["SubnetIds"] for each in functions if "VpcConfig" in each]
        assert places
        assert all("Apps" not in names(place) for place in places)

    def test_are_private_ones_unless_told_otherwise(self, app: App) -> None:
        vpc = three_zones(app)
        cluster = SdEksCluster(Stack.of(vpc), "Cluster", vpc=vpc)
        private = {subnet.node.path for subnet in vpc.private_subnets}
        assert {subnet.node.path for subnet in cluster.node_subnets} == private


@pytest.mark.parametrize(
    "selection",
    [
        None,
        ec2.SubnetSelection(subnet_group_name="Gpus"),
        ec2.SubnetSelection(availability_zones=["eu-west-1a", "eu-west-1b"]),
        ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
    ],
)
@pytest.mark.parametrize("compute", [Compute.karpenter(), Compute.auto_mode()], ids=str)
def test_a_vpc_can_be_looked_up(selection: ec2.SubnetSelection | None, compute: Compute) -> None:
    app = new_app()
    stack = Stack(app, "Service", env={"account": "123456789012", "region": "eu-west-1"})
    vpc = ec2.Vpc.from_lookup(stack, "Mine", vpc_id="vpc-1")
    # `cdk synth` looks up what a first synthesis asks for, if that succeeds.
    cluster = SdEksCluster(
        stack,
        "Cluster",
        vpc=vpc,
        subnets=selection,
        compute=compute,
        vpc_endpoints=VpcEndpoints.aws_services(),
    )
    assert len(cluster.node_subnets) == 2
    manifest = json.loads(Path(app.synth().directory, "manifest.json").read_text())
    assert "vpc-provider" in [each["provider"] for each in manifest["missing"]]


def warnings(cluster: SdEksCluster, id: str) -> list[str]:
    found = Annotations.from_stack(Stack.of(cluster)).find_warning(
        "*", Match.string_like_regexp(id)
    )
    return [str(each.entry.data) for each in found]


class TestWarns:
    def test_of_isolated_subnets(self) -> None:
        stack = Stack(App(), "Service")
        kinds = {"Out": ec2.SubnetType.PUBLIC, "In": ec2.SubnetType.PRIVATE_ISOLATED}
        vpc = ec2.Vpc(
            stack,
            "Mine",
            subnet_configuration=[
                ec2.SubnetConfiguration(name=name, subnet_type=kind) for name, kind in kinds.items()
            ],
        )
        selection = ec2.SubnetSelection(subnet_group_name="In")
        cluster = SdEksCluster(stack, "Cluster", vpc=vpc, subnets=selection)
        (warning,) = warnings(cluster, ISOLATED_WARNING)
        assert "isolated subnets, Service/Mine/InSubnet1, Service/Mine/InSubnet2: " in warning

    def test_not_of_others(self) -> None:
        cluster = SdEksCluster(Stack(App(), "Service"), "Cluster")
        assert warnings(cluster, "isolated|network-policy") == []

    @pytest.mark.parametrize("value", ["false", False])
    def test_where_nothing_enforces_network_policies(self, value: object) -> None:
        cni = Addon(name="vpc-cni", configuration={"enableNetworkPolicy": value})
        cluster = SdEksCluster(Stack(App(), "Service"), "Cluster", addons=[cni])
        (warning,) = warnings(cluster, NO_NETWORK_POLICY_WARNING)
        assert f"enableNetworkPolicy of vpc-cni is {value!r}, not 'true'" in warning


class TestEndpoints:
    def test_of_aws_services_are_reached_from_the_vpc_by_https(self) -> None:
        app = new_app()
        cluster = SdEksCluster(
            Stack(app, "Service"), "Cluster", vpc_endpoints=VpcEndpoints.aws_services()
        )
        template = templates_of(app)["Service"]
        assert {service(each) for each in interfaces(template)} == SERVICES
        assert len(cluster.interface_endpoints) == len(SERVICES)
        (group,) = (
            each
            for each in properties(template, "AWS::EC2::SecurityGroup")
            if "SecurityGroupIngress" in each
        )
        (rule,) = group["SecurityGroupIngress"]
        assert (rule["IpProtocol"], rule["FromPort"], rule["ToPort"]) == ("tcp", 443, 443)
        assert rule["CidrIp"]["Fn::GetAtt"][1] == "CidrBlock"

    @pytest.mark.slow
    def test_are_reached_from_subnets_in_a_further_block_too(self) -> None:
        app = new_app()
        stack = Stack(app, "Service")
        vpc = ec2.Vpc.from_vpc_attributes(
            stack,
            "Mine",
            vpc_id="vpc-1",
            vpc_cidr_block="10.0.0.0/16",
            availability_zones=["eu-west-1a", "eu-west-1b"],
            private_subnet_ids=["subnet-1", "subnet-2"],
            private_subnet_ipv4_cidr_blocks=["10.0.1.0/24", "100.64.0.0/18"],
            private_subnet_route_table_ids=["rtb-1", "rtb-2"],
        )
        SdEksCluster(stack, "Cluster", vpc=vpc, vpc_endpoints=VpcEndpoints.aws_services())
        (group,) = (
            each
            for each in properties(templates_of(app)["Service"], "AWS::EC2::SecurityGroup")
            if "SecurityGroupIngress" in each
        )
        reached_from = {rule["CidrIp"] for rule in group["SecurityGroupIngress"]}
        assert reached_from == {"10.0.0.0/16", "100.64.0.0/18"}
        assert {rule["ToPort"] for rule in group["SecurityGroupIngress"]} == {443}

    def test_answer_to_the_names_of_the_services(self) -> None:
        app = new_app()
        SdEksCluster(Stack(app, "Service"), "Cluster", vpc_endpoints=VpcEndpoints.aws_services())
        for each in interfaces(templates_of(app)["Service"]):
            assert each["PrivateDnsEnabled"] is True
            assert len(each["SecurityGroupIds"]) == 1
            assert len(each["SubnetIds"]) == 2

    def test_are_in_one_subnet_of_each_zone(self) -> None:
        app = new_app()
        vpc = three_zones(app)
        SdEksCluster(Stack.of(vpc), "Cluster", vpc=vpc, vpc_endpoints=VpcEndpoints.aws_services())
        # The VPC has two private subnets in each zone; AWS takes one.
        for each in interfaces(templates_of(app)["Service"]):
            assert len(each["SubnetIds"]) == 3

    def test_for_s3_are_in_every_route_table_of_the_users_vpc(self) -> None:
        app = new_app()
        vpc = three_zones(app)
        cluster = SdEksCluster(Stack.of(vpc), "Cluster", vpc=vpc, vpc_endpoints=VpcEndpoints.s3())
        (endpoint,) = properties(templates_of(app)["Service"], "AWS::EC2::VPCEndpoint")
        assert endpoint["VpcEndpointType"] == "Gateway"
        assert len(endpoint["RouteTableIds"]) == 9
        assert cluster.s3_endpoint is not None

    @pytest.mark.parametrize("given", [False, True], ids=["new", "mine"])
    def test_may_be_none(self, given: bool) -> None:
        app = new_app()
        vpc = three_zones(app) if given else None
        stack = Stack.of(vpc) if vpc is not None else Stack(app, "Service")
        SdEksCluster(stack, "Cluster", vpc=vpc, vpc_endpoints=VpcEndpoints.none())
        assert resources(templates_of(app)["Service"], "AWS::EC2::VPCEndpoint") == []

    @pytest.mark.parametrize("compute", [Compute.karpenter(), Compute.auto_mode()], ids=str)
    def test_are_there_before_what_uses_them_and_go_after_it(self, compute: Compute) -> None:
        app = new_app()
        SdEksCluster(
            Stack(app, "Service"),
            "Cluster",
            compute=compute,
            vpc_endpoints=VpcEndpoints.aws_services(),
        )
        graph = DependencyGraph(templates_of(app)["Service"])
        endpoints = set(graph.of_type("AWS::EC2::VPCEndpoint"))
        assert endpoints <= graph.waits_for(graph.named("Cluster/Keda/Chart"))
