"""KEDA, which scales the runtimes on the depth of their queues."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import aws_eks_v2 as eks
from constructs import Construct, IDependable

from .chart import install_chart
from .interface import AnyCluster
from .manifest import apply_manifest, namespace
from .pod_identity import associate_role, pod_role
from .versions import VERSIONS

_NAMESPACE = "keda"
_SERVICE_ACCOUNT = "keda-operator"

ANYWHERE: dict[str, Any] = {}
"""Placement on any node that takes all pods; GPU nodes do not."""

ON_SYSTEM_NODES: dict[str, Any] = {
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [
                    {
                        "matchExpressions": [
                            {"key": "karpenter.sh/nodepool", "operator": "DoesNotExist"}
                        ]
                    }
                ]
            }
        }
    }
}
"""Placement on nodes that Karpenter does not end, as Karpenter's own."""


class Keda(Construct):
    """KEDA's chart and what it needs.

    Attributes:
        operator_role: Role of the operator. It may do nothing by itself: each runtime lets it read
            the depth of its own queues.
        namespace_manifest: KEDA's namespace.
        chart: The chart.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        placement: Mapping[str, Any],
        after: Sequence[IDependable],
    ) -> None:
        """Install KEDA.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that gets it.
            placement: Values of the chart that say on which nodes it runs.
            after: What must exist first, such as these nodes.
        """
        super().__init__(scope, id)
        self.operator_role = pod_role(
            self,
            "OperatorRole",
            cluster=cluster,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            description="KEDA operator",
        )
        association = associate_role(
            self,
            "OperatorAssociation",
            cluster=cluster,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            role=self.operator_role,
        )
        self.namespace_manifest: eks.KubernetesManifest = apply_manifest(
            self,
            "Namespace",
            cluster=cluster,
            # The chart gives all its pods the security context that this asks for.
            resource=namespace(_NAMESPACE, pod_security="restricted"),
        )
        self.chart = install_chart(
            self,
            "Chart",
            cluster=cluster,
            name="keda",
            repository="https://kedacore.github.io/charts",
            version=VERSIONS.keda,
            namespace=_NAMESPACE,
            values={**_VALUES, **placement},
            after=[self.namespace_manifest, association, *after],
        )


def _resources(*, cpu: str, memory: str, limit: str) -> dict[str, Any]:
    # Helm lays values over the chart's own: its limit of one CPU stays.
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": limit}}


_VALUES: dict[str, Any] = {
    # The second one takes over when the node of the first goes.
    "operator": {"replicaCount": 2},
    "podDisruptionBudget": {"operator": {"maxUnavailable": 1}},
    "topologySpreadConstraints": {
        "operator": [
            {
                "maxSkew": 1,
                "topologyKey": "topology.kubernetes.io/zone",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "keda-operator"}},
            }
        ]
    },
    "resources": {
        "operator": _resources(cpu="100m", memory="128Mi", limit="1Gi"),
        "metricServer": _resources(cpu="100m", memory="128Mi", limit="1Gi"),
        "webhooks": _resources(cpu="10m", memory="32Mi", limit="128Mi"),
    },
    "serviceAccount": {"operator": {"create": True, "name": _SERVICE_ACCOUNT}},
    "image": {"pullPolicy": "IfNotPresent"},
    "priorityClassName": "system-cluster-critical",
    "logging": {"operator": {"format": "json"}},
    "prometheus": {"operator": {"enabled": True}},
}
