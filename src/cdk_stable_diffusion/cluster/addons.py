"""The add-ons that EKS installs and patches."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Annotations, Stack
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from .._acknowledge import acknowledge
from .._validation import is_token
from .addon import Addon, PodIdentity
from .interface import AnyCluster
from .pod_identity import pod_role
from .recommended_addons import ON_EVERY_NODE
from .versions import VERSIONS

NO_NETWORK_POLICY_WARNING = "cdk-stable-diffusion:network-policy-not-enforced"

_REASONS = {
    "AmazonEKS_CNI_Policy": (
        "The VPC CNI plugin's documented policy. It is on the plugin's own role, so that nodes and "
        "other pods do not have it."
    ),
    "CloudWatchAgentServerPolicy": (
        "The documented policy of the CloudWatch agent: to write metrics, logs and traces, which "
        "have no narrower resource. It is on the agent's own role."
    ),
}


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
        cluster: AnyCluster,
        addons: Sequence[Addon],
        is_pinned: bool,
    ) -> None:
        """Make the add-ons.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that gets them.
            addons: Which ones.
            is_pinned: Whether the cluster has the Kubernetes version of the table, whose builds
                are then the default.
        """
        super().__init__(scope, id)
        self._is_pinned = is_pinned
        self.by_name = {addon.name: self._create(cluster, addon) for addon in addons}
        agent = self.by_name.get("eks-pod-identity-agent")
        for addon in addons:
            self._warn_of_no_network_policy(addon)
            # The agent hands the others their credentials.
            if agent is not None and addon.pod_identity is not None:
                self.by_name[addon.name].node.add_dependency(agent)

    def _create(self, cluster: AnyCluster, addon: Addon) -> eks.CfnAddon:
        id = "".join(part.capitalize() for part in addon.name.replace("_", "-").split("-"))
        identity = addon.pod_identity
        return eks.CfnAddon(
            self,
            id,
            cluster_name=cluster.cluster_name,
            addon_name=addon.name,
            addon_version=(
                addon.version or (VERSIONS.addon(addon.name) if self._is_pinned else None)
            ),
            configuration_values=(
                Stack.of(self).to_json_string(addon.configuration) if addon.configuration else None
            ),
            pod_identity_associations=(
                None
                if identity is None
                else [
                    eks.CfnAddon.PodIdentityAssociationProperty(
                        role_arn=self._role(f"{id}Role", cluster, addon.name, identity).role_arn,
                        service_account=identity.service_account,
                    )
                ]
            ),
            resolve_conflicts="OVERWRITE",
        )

    def _warn_of_no_network_policy(self, addon: Addon) -> None:
        enforces = addon.configuration.get("enableNetworkPolicy")
        if addon.name == "vpc-cni" and enforces != "true" and not is_token(enforces):
            Annotations.of(self).add_warning_v2(
                NO_NETWORK_POLICY_WARNING,
                f"enableNetworkPolicy of vpc-cni is {enforces!r}, not 'true': the network policy "
                "of the runtimes has no effect, unless another plugin enforces it",
            )

    def _role(self, id: str, cluster: AnyCluster, name: str, identity: PodIdentity) -> iam.IRole:
        if identity.role is not None:
            return identity.role
        role = pod_role(
            self,
            id,
            cluster=cluster,
            namespace=None,
            service_account=identity.service_account,
            description=f"Add-on {name}",
            managed_policies=[
                iam.ManagedPolicy.from_aws_managed_policy_name(policy)
                for policy in identity.managed_policies
            ],
        )
        acknowledge(
            role,
            {
                f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{policy}]": reason
                for policy, reason in _REASONS.items()
                if policy in identity.managed_policies
            },
        )
        return role

    def surround(self, nodegroup: eks.Nodegroup) -> None:
        """Order the add-ons around the first nodes.

        Args:
            nodegroup: The first nodes. They need what runs on every node; the other add-ons need
                nodes to become active on.
        """
        for name, addon in self.by_name.items():
            if name in ON_EVERY_NODE:
                nodegroup.node.add_dependency(addon)
            else:
                addon.node.add_dependency(nodegroup)
