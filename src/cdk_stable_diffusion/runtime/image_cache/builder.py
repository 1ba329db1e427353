"""The instance that pulls images: what it is launched with, and what it may do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aws_cdk import Aws, Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from constructs import Construct

from ..._acknowledge import acknowledge, acknowledge_own_policy, acknowledge_wildcards
from ..._validation import is_token
from ...cluster.versions import VERSIONS
from ...image_cache_handler.references import ImageReference
from .definition import DATA_DEVICE

VARIANT = f"aws-k8s-{VERSIONS.kubernetes}"
"""Variant of Bottlerocket without the NVIDIA driver, which would not start without a GPU.

The variant with the driver reads the disk all the same: its containerd keeps images in the same
place and form, and differs in the runtimes of its containers only.
"""

SNAPSHOTTER = "overlayfs"
"""Bottlerocket's default. It empties the disk when a node starts with another one."""

_SYSTEM_DEVICE = "/dev/xvda"
_SYSTEM_GIBIBYTES = 4

_THROUGHPUT_MEBIBYTES = 1_000
# The fewest that EC2 allows for this throughput.
_IOPS = 4_000

_HTTPS = 443

_USER_DATA = """\
[settings.host-containers.admin]
enabled = true

[settings.kubernetes]
hostname-override-source = "instance-id"
"""
"""The name from the instance's own metadata: by default Bottlerocket would ask EC2 for a name, and
not start without the right to."""

_ECR_HOST = re.compile(r"(?P<account>\d{12})\.dkr\.ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\.[a-z.]+")

_AGENT_ACTIONS = (
    "ssm:UpdateInstanceInformation",
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
    "ec2messages:AcknowledgeMessage",
    "ec2messages:DeleteMessage",
    "ec2messages:FailMessage",
    "ec2messages:GetEndpoint",
    "ec2messages:GetMessages",
    "ec2messages:SendReply",
)

_PULL_ACTIONS = (
    "ecr:BatchCheckLayerAvailability",
    "ecr:BatchGetImage",
    "ecr:GetDownloadUrlForLayer",
)


class Builder(Construct):
    """A launch template, with a role and a security group that nothing gets in by.

    Attributes:
        role: Role of the instance.
        security_group: Security group of the instance.
        image_id: The machine image.
        launch_template: The launch template.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc,
        instance_type: ec2.InstanceType,
        volume: Size,
        images: Sequence[str],
        assets: Sequence[ecr_assets.DockerImageAsset],
    ) -> None:
        """Make the launch template.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            vpc: Network of the instance.
            instance_type: Its type.
            volume: Size of the data volume.
            images: Images that it pulls, by their names.
            assets: Images that it pulls and the AWS CDK publishes.
        """
        super().__init__(scope, id)
        self.role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="Instance that pulls container images for a snapshot",
        )
        self._let_it_be_commanded()
        self._let_it_pull(images, assets)
        acknowledge_own_policy(self.role)
        profile = iam.InstanceProfile(self, "InstanceProfile", role=self.role)
        self.security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="Instance that pulls container images; nothing gets in",
            allow_all_outbound=False,
        )
        for port in sorted({_HTTPS, *_ports(images)}):
            self.security_group.add_egress_rule(
                ec2.Peer.any_ipv4(), ec2.Port.tcp(port), "Registries and AWS services"
            )
        machine_image = ec2.MachineImage.from_ssm_parameter(
            f"/aws/service/bottlerocket/{VARIANT}/x86_64/{VERSIONS.bottlerocket}/image_id"
        )
        self.launch_template = ec2.LaunchTemplate(
            self,
            "LaunchTemplate",
            machine_image=machine_image,
            instance_type=instance_type,
            instance_profile=profile,
            security_group=self.security_group,
            user_data=ec2.UserData.custom(_USER_DATA),
            block_devices=[
                _disk(_SYSTEM_DEVICE, _SYSTEM_GIBIBYTES),
                _disk(
                    DATA_DEVICE,
                    int(volume.to_gibibytes()),
                    iops=_IOPS,
                    throughput=_THROUGHPUT_MEBIBYTES,
                ),
            ],
            # The instance can end itself, and leaves nothing then.
            instance_initiated_shutdown_behavior=(ec2.InstanceInitiatedShutdownBehavior.TERMINATE),
            require_imdsv2=True,
            # One hop suffices: host containers share the network of the host.
            http_put_response_hop_limit=1,
        )
        self.image_id = machine_image.get_image(self).image_id

    def _let_it_be_commanded(self) -> None:
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                sid="AgentOfSystemsManager", actions=list(_AGENT_ACTIONS), resources=["*"]
            )
        )
        acknowledge(
            self.role,
            {
                "AwsSolutions-IAM5[Resource::*]": (
                    "The agent of Systems Manager asks for its own instance, whose id is not known "
                    "before. AWS has no resource for its messages, nor for the token that Amazon "
                    "ECR wants first."
                )
            },
        )

    def _let_it_pull(
        self, images: Sequence[str], assets: Sequence[ecr_assets.DockerImageAsset]
    ) -> None:
        stack = Stack.of(self)
        host_containers = f"arn:{Aws.PARTITION}:ecr:*:*:repository/bottlerocket-*"
        repositories = [
            *(each.repository.repository_arn for each in assets),
            *filter(None, map(_repository_arn, images)),
        ]
        # Assets share a repository, and name it by different tokens.
        distinct = {str(stack.resolve(arn)): arn for arn in repositories}
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                sid="Registries", actions=["ecr:GetAuthorizationToken"], resources=["*"]
            )
        )
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                sid="Images",
                actions=list(_PULL_ACTIONS),
                resources=[host_containers, *distinct.values()],
            )
        )
        acknowledge_wildcards(
            self.role,
            resources=[host_containers],
            reason="Bottlerocket pulls its own host containers from registries of AWS, whose "
            "account and region depend on the region of the instance.",
        )


def _disk(
    device: str, gibibytes: int, *, iops: int | None = None, throughput: int | None = None
) -> ec2.BlockDevice:
    return ec2.BlockDevice(
        device_name=device,
        volume=ec2.BlockDeviceVolume.ebs(
            gibibytes,
            volume_type=ec2.EbsDeviceVolumeType.GP3,
            encrypted=True,
            delete_on_termination=True,
            iops=iops,
            throughput=throughput,
        ),
    )


def _repository_arn(image: str) -> str | None:
    """Return the repository of an image in Amazon ECR, or None for other registries."""
    if is_token(image):
        return None
    reference = ImageReference.parse(image)
    found = _ECR_HOST.fullmatch(reference.host)
    if found is None:
        return None
    return (
        f"arn:{Aws.PARTITION}:ecr:{found['region']}:{found['account']}:repository/{reference.path}"
    )


def _ports(images: Sequence[str]) -> set[int]:
    """Return the ports of registries that name one."""
    hosts = (ImageReference.parse(image).host for image in images if not is_token(image))
    return {int(host.partition(":")[2]) for host in hosts if ":" in host}
