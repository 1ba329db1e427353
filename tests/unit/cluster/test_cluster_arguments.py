"""Which arguments a cluster refuses."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_ec2 as ec2

from cdk_stable_diffusion.cluster import Addon, Compute, SdEksCluster, VpcEndpoints


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"availability_zones": 1}, "availability_zones is 1: 2 to 6"),
        ({"availability_zones": 7}, "availability_zones is 7: 2 to 6"),
        ({"nat_gateways": 0}, "nat_gateways is 0: 1 to the number of zones, 2"),
        ({"nat_gateways": 3}, "nat_gateways is 3: 1 to the number of zones, 2"),
        (
            {"availability_zones": 9, "nat_gateways": 0},
            "nat_gateways is 0: 1 to the number of zones, 6",
        ),
        (
            {"availability_zones": 1, "nat_gateways": 5},
            "nat_gateways is 5: 1 to the number of zones, 2",
        ),
        ({"availability_zones": "3"}, "availability_zones is '3': a whole number"),
        ({"availability_zones": 0}, "availability_zones is 0: 2 to 6"),
        ({"nat_gateways": True}, "nat_gateways is True: a whole number"),
        ({"vpc": "vpc-1"}, "vpc is 'vpc-1': a VPC, such as an ec2.Vpc"),
        ({"endpoint_access": "private"}, "endpoint_access is 'private': a ClusterEndpoint"),
        ({"compute": "auto"}, "compute is 'auto': a Compute, such as Compute.auto_mode()"),
        ({"vpc_endpoints": "s3"}, "vpc_endpoints is 's3': a VpcEndpoints"),
        ({"subnets": "private"}, "subnets is 'private': an ec2.SubnetSelection"),
        (
            {"subnets": ec2.SubnetSelection(subnet_group_name="Private")},
            "subnets is given without vpc: it selects subnets of your own VPC",
        ),
        ({"secrets_encryption_key": "arn:x"}, "secrets_encryption_key is 'arn:x': a key"),
        ({"system_instance_type": "m7g.large"}, "system_instance_type is 'm7g.large': an Inst"),
        ({"system_node_count": "2"}, "system_node_count is '2': a whole number"),
        (
            {"system_instance_type": ec2.InstanceType("g5.xlarge")},
            "system_instance_type is g5.xlarge: one without an accelerator, such as m7g.large",
        ),
        (
            {"system_instance_type": ec2.InstanceType("t4g.small")},
            "system_instance_type is t4g.small: large or larger, or medium of a family t",
        ),
        (
            {"system_instance_type": ec2.InstanceType("m7g.medium")},
            "system_instance_type is m7g.medium: large or larger, or medium of a family t",
        ),
        (
            {"addons": [Addon(name="kube-proxy", version="v1.34.6-eksbuild.29")]},
            "addons has kube-proxy v1.34.6-eksbuild.29: it has the version of the cluster, 1.35",
        ),
        *(
            (
                {"system_instance_type": ec2.InstanceType(name)},
                f"system_instance_type is {name}: with its size, such as m7g.large",
            )
            for name in ("m7g", "large", "m7g.large.x")
        ),
        ({"system_node_count": 1}, "system_node_count is 1: 2 to 10"),
        ({"addons": "coredns"}, "addons is 'coredns': a list of add-ons, such as [Addon("),
        ({"addons": ["coredns"]}, "addons is ['coredns']: a list of add-ons, such as [Addon("),
        ({"addons": 1}, "addons is 1: a list of add-ons"),
        (
            {"addons": [Addon(name="coredns"), Addon(name="coredns")]},
            "addons names coredns more than once",
        ),
        (
            {"addons": [Addon.left_out("vpc-cni")]},
            "addons leaves out vpc-cni: only metrics-server, eks-node-monitoring-agent, "
            "amazon-cloudwatch-observability can be left out",
        ),
        ({"addons": [Addon.left_out("unknown")]}, "addons leaves out unknown: only metrics-server"),
    ],
)
def test_refuses(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match="SdEksCluster Service/Cluster: ") as error:
        SdEksCluster(Stack(App(), "Service"), "Cluster", **arguments)
    assert says in str(error.value)


@pytest.mark.parametrize("name", ["availability_zones", "nat_gateways"])
def test_refuses_to_shape_the_users_vpc(name: str) -> None:
    stack = Stack(App(), "Service")
    arguments: dict[str, Any] = {name: 2}
    with pytest.raises(ValueError, match=f"{name} is 2, but vpc is given"):
        SdEksCluster(stack, "Cluster", vpc=ec2.Vpc(stack, "Mine"), **arguments)


def test_names_every_fault_at_once_and_makes_nothing() -> None:
    stack = Stack(App(), "Service")
    with pytest.raises(ValueError) as error:
        SdEksCluster(stack, "Cluster", availability_zones=9, nat_gateways=20, system_node_count=0)
    for argument in ("availability_zones", "nat_gateways", "system_node_count"):
        assert argument in str(error.value)
    assert stack.node.try_find_child("Cluster") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"system_instance_type": ec2.InstanceType("m7g.large")},
            "system_instance_type is given: EKS Auto Mode chooses the nodes",
        ),
        ({"system_node_count": 3}, "system_node_count is given: EKS Auto Mode chooses the nodes"),
        *(
            ({"addons": [Addon(name=name)]}, f"addons names {name}: EKS Auto Mode has it built in")
            for name in (
                "vpc-cni",
                "kube-proxy",
                "coredns",
                "eks-pod-identity-agent",
                "eks-node-monitoring-agent",
            )
        ),
    ],
)
def test_refuses_in_auto_mode(arguments: dict[str, Any], says: str) -> None:
    stack = Stack(App(), "Service")
    with pytest.raises(ValueError) as error:
        SdEksCluster(stack, "Cluster", compute=Compute.auto_mode(), **arguments)
    assert says in str(error.value)
    assert stack.node.try_find_child("Cluster") is None


def test_refuses_a_vpc_without_private_subnets() -> None:
    stack = Stack(App(), "Service")
    public = ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC)
    vpc = ec2.Vpc(stack, "Mine", nat_gateways=0, subnet_configuration=[public])
    with pytest.raises(ValueError, match=r"vpc has none, .*Private.*: private subnets, wh"):
        SdEksCluster(stack, "Cluster", vpc=vpc)


def test_refuses_a_vpc_with_one_zone() -> None:
    stack = Stack(App(), "Service", env={"account": "123456789012", "region": "eu-west-1"})
    vpc = ec2.Vpc(stack, "Mine", availability_zones=["eu-west-1a"])
    with pytest.raises(ValueError, match="vpc has subnets in one zone: private subnets"):
        SdEksCluster(stack, "Cluster", vpc=vpc)


def test_takes_a_vpc_whose_zones_are_known_at_deployment_only() -> None:
    stack = Stack(App(), "Service")
    vpc = ec2.Vpc(stack, "Mine", max_azs=2)
    assert SdEksCluster(stack, "Cluster", vpc=vpc).vpc is vpc


@pytest.fixture
def own_vpc() -> ec2.Vpc:
    stack = Stack(App(), "Service", env={"account": "123456789012", "region": "eu-west-1"})
    return ec2.Vpc(stack, "Mine", availability_zones=["eu-west-1a", "eu-west-1b"], nat_gateways=1)


@pytest.mark.parametrize(
    ("selection", "says"),
    [
        (
            ec2.SubnetSelection(subnet_group_name="Gpu"),
            "subnets selects none, There are no subnet groups with name 'Gpu'",
        ),
        (
            ec2.SubnetSelection(subnet_type=ec2.SubnetType.PUBLIC),
            "subnets selects public subnets, Service/Mine/PublicSubnet1, Service/Mine/Pub",
        ),
        (
            ec2.SubnetSelection(availability_zones=["eu-west-1a"]),
            "subnets selects subnets in one zone: private subnets, which reach the internet, in 2",
        ),
        (
            ec2.SubnetSelection(availability_zones=["eu-west-1c"]),
            "subnets selects none: private subnets, which reach the internet, in 2 zones or more",
        ),
    ],
)
def test_refuses_a_selection_of_subnets(
    own_vpc: ec2.Vpc, selection: ec2.SubnetSelection, says: str
) -> None:
    with pytest.raises(ValueError) as error:
        SdEksCluster(Stack.of(own_vpc), "Cluster", vpc=own_vpc, subnets=selection)
    assert says in str(error.value)


def imported_vpc(stack: Stack, **given: Any) -> ec2.IVpc:
    return ec2.Vpc.from_vpc_attributes(
        stack,
        "Mine",
        vpc_id="vpc-1",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
        **given,
    )


@pytest.mark.parametrize(
    ("endpoints", "says"),
    [
        (
            VpcEndpoints.aws_services(),
            "vpc does not know its addresses, which its endpoints of AWS services are opened to: "
            "give vpc_cidr_block where the VPC is imported",
        ),
        *(
            (
                endpoints,
                "vpc does not know its route tables, which its endpoint for S3 is put into: give "
                "private_subnet_route_table_ids where the VPC is imported",
            )
            for endpoints in (VpcEndpoints.s3(), VpcEndpoints.aws_services())
        ),
    ],
)
def test_refuses_endpoints_in_a_vpc_of_which_too_little_is_known(
    endpoints: VpcEndpoints, says: str
) -> None:
    stack = Stack(App(), "Service")
    with pytest.raises(ValueError) as error:
        SdEksCluster(stack, "Cluster", vpc=imported_vpc(stack), vpc_endpoints=endpoints)
    assert says in str(error.value)


def test_takes_endpoints_in_an_imported_vpc() -> None:
    stack = Stack(App(), "Service")
    vpc = imported_vpc(
        stack,
        vpc_cidr_block="10.0.0.0/16",
        private_subnet_route_table_ids=["rtb-1", "rtb-2"],
    )
    cluster = SdEksCluster(stack, "Cluster", vpc=vpc, vpc_endpoints=VpcEndpoints.aws_services())
    assert len(cluster.interface_endpoints) == 14


def test_refuses_imported_subnets_without_zones() -> None:
    stack = Stack(App(), "Service")
    subnets = [ec2.Subnet.from_subnet_id(stack, name, name) for name in ("subnet-3", "subnet-4")]
    with pytest.raises(
        ValueError, match="subnets selects none, You cannot reference a Subnet's av"
    ):
        SdEksCluster(
            stack, "Cluster", vpc=imported_vpc(stack), subnets=ec2.SubnetSelection(subnets=subnets)
        )
