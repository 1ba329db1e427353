"""The nodes of EKS Auto Mode for the system's pods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from constructs import Construct, IDependable

from .compute import Compute
from .manifest import apply_manifest
from .nodes import AutoModeNodeIdentity

SYSTEM_POOL = "stable-diffusion-system"
"""Name of the pool; Auto Mode keeps "system" for its own."""


class SystemPool(Construct):
    """Nodes for KEDA, the metrics server and whatever else asks for no special ones.

    Auto Mode has such pools itself, but nothing ends their nodes before the cluster. EKS says that
    the cluster is gone while their instance profile still holds their role, and their network
    interfaces the security group: CloudFormation can then delete neither the role nor the VPC. This
    pool and its nodes go before the cluster.

    Attributes:
        node_pool: Manifest of when there are nodes. What runs on them must depend on it.
    """

    node_pool: eks.KubernetesManifest

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: eks.Cluster,
        subnets: Sequence[ec2.ISubnet],
        after: Sequence[IDependable],
    ) -> None:
        """Make the pool.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster of the nodes, on Auto Mode and without pools of Auto Mode's own.
            subnets: Subnets of the nodes.
            after: What must exist before the first node, and go after the last.
        """
        super().__init__(scope, id)
        compute = Compute.auto_mode()
        identity = AutoModeNodeIdentity(self, "Identity", cluster=cluster)
        node_class = apply_manifest(
            self,
            "NodeClass",
            cluster=cluster,
            resource={
                "apiVersion": compute.node_class_api_version,
                "kind": compute.node_class_kind,
                "metadata": {"name": SYSTEM_POOL},
                "spec": {
                    "role": identity.role.role_name,
                    "subnetSelectorTerms": [{"id": subnet.subnet_id} for subnet in subnets],
                    "securityGroupSelectorTerms": [{"id": cluster.cluster_security_group_id}],
                },
            },
            after=[identity.access_entry, *after],
        )
        self.node_pool = apply_manifest(
            self,
            "NodePool",
            cluster=cluster,
            resource=_node_pool(compute),
            # kubectl waits for the end of a node class, which waits for the last of its nodes.
            after=[node_class],
        )


def _node_pool(compute: Compute) -> dict[str, Any]:
    """Return a pool like those that Auto Mode has itself."""
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": SYSTEM_POOL},
        "spec": {
            "template": {
                "spec": {
                    "nodeClassRef": {
                        "group": compute.node_class_group,
                        "kind": compute.node_class_kind,
                        "name": SYSTEM_POOL,
                    },
                    "requirements": [
                        _one_of("karpenter.sh/capacity-type", "on-demand"),
                        _one_of("kubernetes.io/arch", "amd64", "arm64"),
                        _one_of(compute.instance_label("category"), "c", "m", "r"),
                        {
                            "key": compute.instance_label("generation"),
                            "operator": "Gt",
                            "values": ["4"],
                        },
                    ],
                    "expireAfter": "336h",
                    # Shorter than the 15 minutes in which kubectl must have deleted the node class.
                    "terminationGracePeriod": "10m",
                }
            },
            "disruption": {
                "consolidationPolicy": "WhenEmptyOrUnderutilized",
                "consolidateAfter": "30s",
            },
        },
    }


def _one_of(key: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": "In", "values": list(values)}
