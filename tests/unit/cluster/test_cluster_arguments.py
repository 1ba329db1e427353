"""Which arguments a cluster refuses."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk import aws_ec2 as ec2

from cdk_stable_diffusion.cluster import SdEksCluster


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
        ({"endpoint_access": "private"}, "endpoint_access is 'private': an EndpointAccess"),
        ({"secrets_encryption_key": "arn:x"}, "secrets_encryption_key is 'arn:x': a key"),
        ({"system_instance_type": "m7g.large"}, "system_instance_type is 'm7g.large': an Inst"),
        ({"system_node_count": "2"}, "system_node_count is '2': a whole number"),
        ({"addon_versions": ["coredns"]}, "addon_versions is ['coredns']: versions by name"),
        ({"addon_versions": {"coredns": 1}}, "addon_versions['coredns'] is 1: a version as text"),
        ({"system_node_count": 1}, "system_node_count is 1: 2 to 10"),
        ({"addon_versions": {"core-dns": "v1"}}, "addon_versions names core-dns: only vpc-cni"),
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


def test_refuses_a_vpc_without_private_subnets() -> None:
    stack = Stack(App(), "Service")
    public = ec2.SubnetConfiguration(name="Public", subnet_type=ec2.SubnetType.PUBLIC)
    vpc = ec2.Vpc(stack, "Mine", nat_gateways=0, subnet_configuration=[public])
    with pytest.raises(ValueError, match="vpc has no private subnets"):
        SdEksCluster(stack, "Cluster", vpc=vpc)


def test_refuses_a_vpc_with_one_zone() -> None:
    stack = Stack(App(), "Service", env={"account": "123456789012", "region": "eu-west-1"})
    vpc = ec2.Vpc(stack, "Mine", availability_zones=["eu-west-1a"])
    with pytest.raises(ValueError, match="vpc has private subnets in one zone"):
        SdEksCluster(stack, "Cluster", vpc=vpc)


def test_takes_a_vpc_whose_zones_are_known_at_deployment_only() -> None:
    stack = Stack(App(), "Service")
    vpc = ec2.Vpc(stack, "Mine", max_azs=2)
    assert SdEksCluster(stack, "Cluster", vpc=vpc).vpc is vpc
