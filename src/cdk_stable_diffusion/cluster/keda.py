"""KEDA, which scales the runtimes on the depth of their queues."""

from __future__ import annotations

from aws_cdk import aws_eks_v2 as eks
from constructs import Construct

from .chart import install_chart
from .manifest import apply_manifest, namespace
from .pod_identity import associate_role, pod_role
from .versions import VERSIONS

_NAMESPACE = "keda"
_SERVICE_ACCOUNT = "keda-operator"


class Keda(Construct):
    """KEDA's chart and what it needs.

    Attributes:
        operator_role: Role of the operator. It may do nothing by itself: each runtime lets it read
            the depth of its own queue.
        namespace_manifest: KEDA's namespace.
        chart: The chart.
    """

    def __init__(
        self, scope: Construct, id: str, *, cluster: eks.Cluster, nodegroup: eks.Nodegroup
    ) -> None:
        """Install KEDA.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that gets it.
            nodegroup: Nodes that it runs on.
        """
        super().__init__(scope, id)
        self.operator_role = pod_role(self, "OperatorRole", description="KEDA operator")
        association = associate_role(
            self,
            "OperatorAssociation",
            cluster=cluster,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            role=self.operator_role,
        )
        self.namespace_manifest = apply_manifest(
            self,
            "Namespace",
            cluster=cluster,
            resource=namespace(_NAMESPACE, pod_security="baseline"),
        )
        self.chart = install_chart(
            self,
            "Chart",
            cluster=cluster,
            name="keda",
            repository="https://kedacore.github.io/charts",
            version=VERSIONS.keda,
            namespace=_NAMESPACE,
            values={
                # The second one takes over when the node of the first goes.
                "operator": {"replicaCount": 2},
                "serviceAccount": {"operator": {"create": True, "name": _SERVICE_ACCOUNT}},
                "image": {"pullPolicy": "IfNotPresent"},
                "priorityClassName": "system-cluster-critical",
                "logging": {"operator": {"format": "json"}},
                "prometheus": {"operator": {"enabled": True}},
            },
            after=[self.namespace_manifest, association, nodegroup],
        )
