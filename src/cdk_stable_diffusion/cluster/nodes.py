"""The nodes: a managed group for the system's pods, and what GPU nodes are launched with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from .._acknowledge import acknowledge
from .interface import AnyCluster, as_interface
from .versions import VERSIONS

_NODE_POLICIES = (
    "AmazonEKSWorkerNodePolicy",
    "AmazonEC2ContainerRegistryPullOnly",
    "AmazonSSMManagedInstanceCore",
)

_AUTO_MODE_NODE_POLICIES = (
    "AmazonEKSWorkerNodeMinimalPolicy",
    "AmazonEC2ContainerRegistryPullOnly",
)


class SystemNodes(Construct):
    """Nodes for Karpenter, KEDA, CoreDNS and the metrics server.

    EKS replaces one that the node monitoring agent or the kubelet finds broken.

    Attributes:
        role: Role of the nodes. EKS makes its access entry.
        nodegroup: The managed node group.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: eks.Cluster,
        subnets: Sequence[ec2.ISubnet],
        instance_type: ec2.InstanceType,
        count: int,
    ) -> None:
        """Make the node group.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster of the nodes.
            subnets: Subnets over which they spread, in two zones or more.
            instance_type: Type of every node; its architecture chooses the Bottlerocket variant.
            count: Number of nodes.
        """
        super().__init__(scope, id)
        self.role = node_role(self, "Role", description="Nodes of the system's pods")
        is_arm = instance_type.architecture == ec2.InstanceArchitecture.ARM_64
        self.nodegroup = eks.Nodegroup(
            self,
            "Nodegroup",
            cluster=as_interface(cluster),
            node_role=self.role,
            instance_types=[instance_type],
            ami_type=(
                eks.NodegroupAmiType.BOTTLEROCKET_ARM_64
                if is_arm
                else eks.NodegroupAmiType.BOTTLEROCKET_X86_64
            ),
            min_size=count,
            desired_size=count,
            # Room for the replacement of a node during an update.
            max_size=count + 1,
            subnets=ec2.SubnetSelection(subnets=list(subnets)),
            enable_node_auto_repair=True,
        )
        # Without it, the nodes would keep their version when the cluster gets a newer one.
        cast("eks.CfnNodegroup", self.nodegroup.node.default_child).version = VERSIONS.kubernetes


class GpuNodeIdentity(Construct):
    """What the nodes that Karpenter launches are, to AWS and to the cluster.

    CloudFormation owns the instance profile: one that Karpenter makes would outlive its
    controller and keep the role from being deleted.

    Attributes:
        role: Role of the nodes.
        instance_profile: Instance profile with the role.
        access_entry: Lets instances with the role join the cluster.
    """

    def __init__(self, scope: Construct, id: str, *, cluster: AnyCluster) -> None:
        """Make the role, its instance profile and its access entry.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that the nodes join.
        """
        super().__init__(scope, id)
        self.role = node_role(self, "Role", description="GPU nodes that Karpenter launches")
        self.instance_profile = iam.InstanceProfile(self, "InstanceProfile", role=self.role)
        self.access_entry = eks.AccessEntry(
            self,
            "AccessEntry",
            cluster=as_interface(cluster),
            principal=self.role.role_arn,
            access_entry_type=eks.AccessEntryType.EC2_LINUX,
            access_policies=[],
        )


class AutoModeNodeIdentity(Construct):
    """What the GPU nodes of EKS Auto Mode are, to AWS and to the cluster.

    Auto Mode makes the instance profile, and deletes it.

    Attributes:
        role: Role of the nodes.
        access_entry: Lets instances with the role join the cluster.
    """

    def __init__(self, scope: Construct, id: str, *, cluster: AnyCluster) -> None:
        """Make the role and its access entry.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that the nodes join.
        """
        super().__init__(scope, id)
        self.role = auto_mode_node_role(self, "Role", description="GPU nodes of EKS Auto Mode")
        self.access_entry = eks.AccessEntry(
            self,
            "AccessEntry",
            cluster=as_interface(cluster),
            principal=self.role.role_arn,
            access_entry_type=eks.AccessEntryType.EC2,
            access_policies=[
                eks.AccessPolicy.from_access_policy_name(
                    "AmazonEKSAutoNodePolicy", access_scope_type=eks.AccessScopeType.CLUSTER
                )
            ],
        )


def node_role(scope: Construct, id: str, *, description: str) -> iam.Role:
    """Make a role for nodes.

    It cannot manage network interfaces: the VPC CNI plugin has its own role by Pod Identity.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        description: Which nodes it is for.

    Returns:
        The role.
    """
    return _node_role(
        scope,
        id,
        description=description,
        policies=_NODE_POLICIES,
        reason="EKS nodes need what AWS keeps in this policy: to join the cluster, to pull "
        "images, and to be reached by Systems Manager instead of SSH.",
    )


def auto_mode_node_role(scope: Construct, id: str, *, description: str) -> iam.Role:
    """Make a role for nodes of EKS Auto Mode.

    Args:
        scope: Parent construct.
        id: Identifier in the parent.
        description: Which nodes it is for.

    Returns:
        The role.
    """
    return _node_role(
        scope,
        id,
        description=description,
        policies=_AUTO_MODE_NODE_POLICIES,
        reason="Nodes of EKS Auto Mode need what AWS keeps in this policy: to join the cluster, "
        "to hand out Pod Identity credentials, and to pull images.",
    )


def _node_role(
    scope: Construct, id: str, *, description: str, policies: Sequence[str], reason: str
) -> iam.Role:
    role = iam.Role(
        scope,
        id,
        assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
        description=description,
        managed_policies=[
            iam.ManagedPolicy.from_aws_managed_policy_name(name) for name in policies
        ],
    )
    acknowledge(
        role,
        {
            f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{name}]": reason
            for name in policies
        },
    )
    return role
