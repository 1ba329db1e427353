"""Every version that the cluster pins, in one table.

They are tested together by their makers: Karpenter needs 1.9 or later for Kubernetes 1.35, and KEDA
2.20 is tested with 1.33 to 1.35. Raise one only where those statements still hold.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Versions:
    """What is installed, and in which version.

    Attributes:
        kubernetes: Kubernetes version of the EKS cluster. The kubectl layer, which is chosen by
            import, has the same one.
        karpenter: Version of both Karpenter charts.
        keda: Version of the KEDA chart.
        bottlerocket: Version of Bottlerocket on GPU nodes. It is pinned, since `latest` would
            replace every node at each release.
        addons: Names of the EKS add-ons, with a version or None. None takes the version that EKS
            has as its default for this Kubernetes version: EKS withdraws builds of add-ons, so
            that a build pinned here would one day stop new clusters from being made.
    """

    kubernetes: str
    karpenter: str
    keda: str
    bottlerocket: str
    addons: tuple[tuple[str, str | None], ...]


VERSIONS = Versions(
    kubernetes="1.35",
    karpenter="1.14.1",
    keda="2.20.2",
    bottlerocket="1.57.0",
    addons=(
        ("vpc-cni", None),
        ("kube-proxy", None),
        ("eks-pod-identity-agent", None),
        ("coredns", None),
        ("metrics-server", None),
    ),
)
