"""Ways from the VPC to services of AWS that avoid the internet."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network

from aws_cdk import aws_ec2 as ec2
from constructs import Construct

from .._acknowledge import acknowledge
from .._validation import is_token
from .subnets import one_per_zone

_Service = ec2.InterfaceVpcEndpointAwsService

_SERVICES = {
    # Container images.
    "EcrApi": _Service.ECR,
    "EcrDocker": _Service.ECR_DOCKER,
    # Tasks and results; Karpenter's notices of interruptions.
    "Sqs": _Service.SQS,
    "Sns": _Service.SNS,
    # Karpenter and the VPC CNI plugin.
    "Ec2": _Service.EC2,
    "Ssm": _Service.SSM,
    # Nodes that join, and the functions that run kubectl.
    "Eks": _Service.EKS,
    "Sts": _Service.STS,
    # EKS Pod Identity.
    "EksAuth": _Service.EKS_AUTH,
    # Sessions on nodes.
    "SsmMessages": _Service.SSM_MESSAGES,
    "Ec2Messages": _Service.EC2_MESSAGES,
    # Observability.
    "Logs": _Service.CLOUDWATCH_LOGS,
    "Monitoring": _Service.CLOUDWATCH_MONITORING,
    "XRay": _Service.XRAY,
}


@dataclass(frozen=True, slots=True)
class VpcEndpoints:
    """Which services of AWS are reached without the internet; made by one of its factories.

    Whatever has no endpoint is reached through the NAT gateways of the VPC, which are needed in any
    case: the charts of Karpenter and KEDA, and their images, come from public registries.

    Attributes:
        s3_gateway: Whether S3 is.
        interfaces: The other services, by the identifiers of their endpoints.
    """

    s3_gateway: bool
    interfaces: tuple[str, ...]

    @classmethod
    def none(cls) -> VpcEndpoints:
        """Reach every service through the NAT gateways.

        Returns:
            The choice.
        """
        return cls(False, ())

    @classmethod
    def s3(cls) -> VpcEndpoints:
        """Reach S3 by a gateway endpoint, which costs nothing.

        Models and the layers of container images in ECR come from S3.

        Returns:
            The choice.
        """
        return cls(True, ())

    @classmethod
    def aws_services(cls) -> VpcEndpoints:
        """Reach S3, and the services that nodes, agents and the system's pods call.

        These are ECR, SQS, SNS, EC2, EKS, EKS Auth, STS, Systems Manager with its message services,
        CloudWatch metrics and logs, and X-Ray; Karpenter still reaches IAM and the price list over
        the internet. AWS charges for each of the 14 endpoints by the hour in every zone, and for
        the traffic; less for traffic than a NAT gateway.

        Returns:
            The choice.
        """
        return cls(True, tuple(_SERVICES))


def create_s3_gateway(scope: Construct, id: str, *, vpc: ec2.IVpc) -> ec2.GatewayVpcEndpoint:
    """Make a gateway endpoint for S3.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        vpc: Network that gets it, in all route tables that are known of it.

    Returns:
        The endpoint.
    """
    return ec2.GatewayVpcEndpoint(scope, id, vpc=vpc, service=ec2.GatewayVpcEndpointAwsService.S3)


class InterfaceEndpoints(Construct):
    """Interface endpoints for services of AWS, with private DNS.

    Attributes:
        security_group: Their security group: the VPC reaches them by HTTPS, and nobody else.
        by_name: The endpoints.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc,
        subnets: tuple[ec2.ISubnet, ...],
        names: tuple[str, ...],
    ) -> None:
        """Make the endpoints.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            vpc: Network that gets them.
            subnets: Subnets of the nodes; one in each zone gets a network interface.
            names: Identifiers of the services.
        """
        super().__init__(scope, id)
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="Endpoints of AWS services, reached from the VPC by HTTPS",
            allow_all_outbound=False,
        )
        for block in (vpc.vpc_cidr_block, *_further_blocks(vpc, subnets)):
            self.security_group.add_ingress_rule(
                ec2.Peer.ipv4(block), ec2.Port.tcp(443), "HTTPS from the VPC"
            )
        reason = (
            "The rule of cdk-nag cannot read addresses that are known at deployment only. They "
            "are those of the VPC, and the one port is that of HTTPS."
        )
        acknowledge(
            self.security_group,
            {
                "AwsSolutions-EC23": reason,
                "NIST.800.53.R5-EC2RestrictedCommonPorts": reason,
                "NIST.800.53.R5-EC2RestrictedSSH": reason,
            },
        )
        self.by_name = {
            name: ec2.InterfaceVpcEndpoint(
                self,
                name,
                vpc=vpc,
                service=_SERVICES[name],
                subnets=ec2.SubnetSelection(subnets=one_per_zone(subnets)),
                security_groups=[self.security_group],
                open=False,
                private_dns_enabled=True,
            )
            for name in names
        }


def _further_blocks(vpc: ec2.IVpc, subnets: Iterable[ec2.ISubnet]) -> list[str]:
    """Return the addresses of subnets that are not in the first block of their VPC.

    A VPC says only its first block; pods and nodes are often in a second one.

    Args:
        vpc: The VPC.
        subnets: The subnets.
    """
    first = vpc.vpc_cidr_block
    if is_token(first):
        return []
    # Before its first look-up, AWS CDK says addresses that are no network.
    whole = IPv4Network(first, strict=False)
    blocks = dict.fromkeys(block for subnet in subnets if (block := _block(subnet)) is not None)
    return [block for block in blocks if not IPv4Network(block, strict=False).subnet_of(whole)]


def _block(subnet: ec2.ISubnet) -> str | None:
    try:
        block = subnet.ipv4_cidr_block
    except RuntimeError:
        return None
    return None if is_token(block) else block
