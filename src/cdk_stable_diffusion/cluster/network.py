"""The network of a cluster that is not given one."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from .._acknowledge import acknowledge, acknowledge_own_policy


def create_vpc(scope: Construct, id: str, *, availability_zones: int, nat_gateways: int) -> ec2.Vpc:
    """Make a VPC with public and private subnets.

    Rejected and accepted flows are logged for a month. The default security group, which resources
    that name none would share, allows nothing.

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
        restrict_default_security_group=True,
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
    )
    flow_logs = logs.LogGroup(
        vpc,
        "FlowLogs",
        retention=logs.RetentionDays.ONE_MONTH,
        removal_policy=RemovalPolicy.DESTROY,
    )
    role = iam.Role(
        vpc,
        "FlowLogRole",
        description="VPC flow logs",
        assumed_by=iam.ServicePrincipal(
            "vpc-flow-logs.amazonaws.com",
            # For flow logs of this account only.
            conditions={"StringEquals": {"aws:SourceAccount": Stack.of(vpc).account}},
        ),
    )
    acknowledge_own_policy(role)
    vpc.add_flow_log(
        "FlowLog", destination=ec2.FlowLogDestination.to_cloud_watch_logs(flow_logs, role)
    )
    acknowledge(
        flow_logs,
        {
            "NIST.800.53.R5-CloudWatchLogGroupEncrypted": (
                "CloudWatch Logs encrypts it with a key of its own. Flow logs have addresses and "
                "no content; a VPC of yours, with vpc=..., logs under a key of yours."
            )
        },
    )
    acknowledge(
        vpc,
        {
            "NIST.800.53.R5-VPCNoUnrestrictedRouteToIGW": (
                "NAT gateways need it. Nothing else is in the public subnets, and they give no "
                "public addresses."
            ),
        },
    )
    return vpc
