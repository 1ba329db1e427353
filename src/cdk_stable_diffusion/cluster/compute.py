"""What launches GPU nodes: Karpenter in the cluster, or EKS Auto Mode."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Compute:
    """What launches GPU nodes; made by one of its factories.

    Both read the same NodePools. They differ in the kind of node class that a NodePool refers to,
    and in the names of the labels by which it chooses instances.

    Attributes:
        node_class_group: API group of the node classes.
        node_class_kind: Kind of the node classes.
    """

    node_class_group: str
    node_class_kind: str

    @classmethod
    def karpenter(cls) -> Compute:
        """Karpenter, which this library installs in the cluster, on nodes of the cluster's own.

        Returns:
            The choice.
        """
        return cls("karpenter.k8s.aws", "EC2NodeClass")

    @classmethod
    def auto_mode(cls) -> Compute:
        """EKS Auto Mode: AWS runs Karpenter and the nodes, and charges for each node that it runs.

        The cluster has no node group and no chart of Karpenter. It has none of Auto Mode's own node
        pools either, but one like them, whose nodes are gone before the cluster is deleted. AWS
        chooses the image of the nodes and replaces each node after 21 days at the latest. What
        needs settings of a node's operating system or disks is refused: above all,
        `ImageStart.snapshot()`.

        Returns:
            The choice.
        """
        return cls("eks.amazonaws.com", "NodeClass")

    @property
    def is_auto_mode(self) -> bool:
        """Whether it is EKS Auto Mode."""
        return self.node_class_group == "eks.amazonaws.com"

    @property
    def node_class_api_version(self) -> str:
        """API version of the node classes."""
        return f"{self.node_class_group}/v1"

    def instance_label(self, name: str) -> str:
        """Return the label by which a NodePool chooses instances.

        Args:
            name: What the label says of an instance, such as "gpu-count".
        """
        return f"{self.node_class_group}/instance-{name}"
