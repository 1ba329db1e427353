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
        addons: Names of the EKS add-ons, each with its build. EKS may withdraw a build. A cluster
            that has it keeps it, but a new cluster with it, or an update to it, then fails with
            "Addon version specified is not supported". Name another build then:
            ``SdEksCluster(addons=[Addon(name="coredns", version="...")])``, out of what ``aws eks
            describe-addon-versions --kubernetes-version 1.35 --addon-name coredns`` lists.
    """

    kubernetes: str
    karpenter: str
    keda: str
    bottlerocket: str
    addons: tuple[tuple[str, str], ...]

    def addon(self, name: str) -> str | None:
        """Return the build of an add-on, or None where the table does not have it.

        Args:
            name: The add-on's name.
        """
        return dict(self.addons).get(name)


OLDEST_KUBERNETES = (1, 33)
"""Kubernetes version that an existing cluster has at least: the oldest that KEDA is tested with."""

VERSIONS = Versions(
    kubernetes="1.35",
    karpenter="1.14.1",
    keda="2.20.2",
    bottlerocket="1.57.0",
    # The default builds of EKS 1.35, as describe-addon-versions said on the day given and others
    # have published it; where it says "in use", a build that others run on 1.35.
    addons=(
        ("vpc-cni", "v1.22.4-eksbuild.3"),  # 2026-10-02
        ("kube-proxy", "v1.35.3-eksbuild.29"),  # 2026-10-02
        ("eks-pod-identity-agent", "v1.3.10-eksbuild.3"),  # 2026-10-02
        ("coredns", "v1.13.2-eksbuild.31"),  # 2026-10-02
        ("metrics-server", "v0.9.0-eksbuild.11"),  # In use; default of 1.36 on 2026-10-07
        ("eks-node-monitoring-agent", "v1.6.6-eksbuild.1"),  # In use; released 2026-06-10
        ("amazon-cloudwatch-observability", "v6.6.0-eksbuild.1"),  # 2026-09-16
    ),
)
