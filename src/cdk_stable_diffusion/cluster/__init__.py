"""The Kubernetes cluster: `SdEksCluster`."""

from __future__ import annotations

from .addon import Addon, PodIdentity
from .cluster import SdEksCluster
from .compute import Compute
from .endpoint import ClusterEndpoint
from .existing import ExistingKarpenter, ExistingKeda
from .priority import Priority
from .runtime_cluster import RuntimeCluster
from .versions import VERSIONS, Versions
from .vpc_endpoints import VpcEndpoints

__all__ = [
    "VERSIONS",
    "Addon",
    "ClusterEndpoint",
    "Compute",
    "ExistingKarpenter",
    "ExistingKeda",
    "PodIdentity",
    "Priority",
    "RuntimeCluster",
    "SdEksCluster",
    "Versions",
    "VpcEndpoints",
]
