"""The Kubernetes cluster: `SdEksCluster`."""

from __future__ import annotations

from .cluster import SdEksCluster
from .versions import VERSIONS, Versions

__all__ = ["VERSIONS", "SdEksCluster", "Versions"]
