"""The network of a cluster that is not given one."""

from __future__ import annotations

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_logs as logs
from constructs import Construct


def create_vpc(scope: Construct, id: str, *, availability_zones: int, nat_gateways: int) -> ec2.Vpc:
    """Make a VPC with public and private subnets.

    Models and container image layers come from S3, so the VPC has a gateway endpoint for it, which
    costs nothing and keeps that traffic off the NAT gateway. Rejected and accepted flows are logged
    for a month.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        availability_zones: How many zones to span.
        nat_gateways: How many NAT gateways to share among the zones.

    Returns:
        The VPC.
    """
    vpc = ec2.Vpc(
        scope,
        id,
        max_azs=availability_zones,
        nat_gateways=nat_gateways,
        subnet_configuration=[
            ec2.SubnetConfiguration(
                name="Public",
                subnet_type=ec2.SubnetType.PUBLIC,
                cidr_mask=24,
                map_public_ip_on_launch=False,
            ),
            ec2.SubnetConfiguration(
                name="Private", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=19
            ),
        ],
        gateway_endpoints={
            "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3)
        },
    )
    flow_logs = logs.LogGroup(
        vpc,
        "FlowLogs",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    vpc.add_flow_log("FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(flow_logs))
    return vpc
