"""The add-ons that EKS installs and patches."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from .._acknowledge import acknowledge
from .pod_identity import pod_role
from .versions import VERSIONS

_ON_EVERY_NODE = ("eks-pod-identity-agent", "vpc-cni", "kube-proxy")
"""Daemon sets, without which a node is not ready. They are made before the first node."""

ADDON_NAMES = tuple(name for name, _ in VERSIONS.addons)


class Addons(Construct):
    """The add-ons of a cluster.

    Attributes:
        by_name: Every add-on.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: eks.Cluster,
        versions: Mapping[str, str],
    ) -> None:
        """Make the add-ons.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that gets them.
            versions: Versions to use instead of those in the table.
        """
        super().__init__(scope, id)
        network_role = pod_role(
            self,
            "NetworkRole",
            description="VPC CNI plugin",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name("AmazonEKS_CNI_Policy")
            ],
        )
        acknowledge(
            network_role,
            {
                "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonEKS_CNI_Policy]": (  # noqa: E501
                    "The VPC CNI plugin's documented policy. It is on the plugin's own role, so "
                    "that nodes and other pods do not have it."
                )
            },
        )
        associations = {
            "vpc-cni": [
                eks.CfnAddon.PodIdentityAssociationProperty(
                    role_arn=network_role.role_arn, service_account="aws-node"
                )
            ]
        }
        self.by_name: dict[str, eks.CfnAddon] = {}
        for name, version in VERSIONS.addons:
            self.by_name[name] = eks.CfnAddon(
                self,
                "".join(part.capitalize() for part in name.split("-")),
                cluster_name=cluster.cluster_name,
                addon_name=name,
                addon_version=versions.get(name, version),
                pod_identity_associations=associations.get(name),
                resolve_conflicts="OVERWRITE",
            )
        # The agent hands the plugin its credentials.
        self.by_name["vpc-cni"].node.add_dependency(self.by_name["eks-pod-identity-agent"])

    def surround(self, nodegroup: eks.Nodegroup) -> None:
        """Order the add-ons around the first nodes.

        Args:
            nodegroup: The first nodes. They need what runs on every node; the other add-ons need
                nodes to become active on.
        """
        for name, addon in self.by_name.items():
            if name in _ON_EVERY_NODE:
                nodegroup.node.add_dependency(addon)
            else:
                addon.node.add_dependency(nodegroup)
