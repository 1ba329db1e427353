"""Stable Diffusion as an asynchronous service on AWS, as AWS CDK constructs.

The constructs are loaded when they are first used, so that the Lambda function, the agent and
clients can import `cdk_stable_diffusion.contract` without the AWS CDK.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .api import Quota as Quota
    from .api import ResultQueue as ResultQueue
    from .api import SdApi as SdApi
    from .api import Throttle as Throttle
    from .cluster import Addon as Addon
    from .cluster import ClusterEndpoint as ClusterEndpoint
    from .cluster import Compute as Compute
    from .cluster import ExistingKarpenter as ExistingKarpenter
    from .cluster import ExistingKeda as ExistingKeda
    from .cluster import PodIdentity as PodIdentity
    from .cluster import Priority as Priority
    from .cluster import RuntimeCluster as RuntimeCluster
    from .cluster import SdEksCluster as SdEksCluster
    from .cluster import VpcEndpoints as VpcEndpoints
    from .observability import SdObservability as SdObservability
    from .runtime import Batching as Batching
    from .runtime import Capacity as Capacity
    from .runtime import DisruptionBudget as DisruptionBudget
    from .runtime import DisruptionReason as DisruptionReason
    from .runtime import DisruptionWindow as DisruptionWindow
    from .runtime import Engine as Engine
    from .runtime import Finishing as Finishing
    from .runtime import GpuNodes as GpuNodes
    from .runtime import ImageCache as ImageCache
    from .runtime import ImageStart as ImageStart
    from .runtime import InputBucket as InputBucket
    from .runtime import InputImages as InputImages
    from .runtime import Model as Model
    from .runtime import ModelCache as ModelCache
    from .runtime import RuntimeImage as RuntimeImage
    from .runtime import SafetyChecker as SafetyChecker
    from .runtime import Scaling as Scaling
    from .runtime import SdNodePool as SdNodePool
    from .runtime import SdRuntime as SdRuntime
    from .runtime import Watermark as Watermark
    from .validation import SdValidation as SdValidation

_HOMES = {
    "Quota": "api",
    "ResultQueue": "api",
    "SdApi": "api",
    "Throttle": "api",
    "Addon": "cluster",
    "ClusterEndpoint": "cluster",
    "Compute": "cluster",
    "ExistingKarpenter": "cluster",
    "ExistingKeda": "cluster",
    "PodIdentity": "cluster",
    "Priority": "cluster",
    "RuntimeCluster": "cluster",
    "SdEksCluster": "cluster",
    "VpcEndpoints": "cluster",
    "SdObservability": "observability",
    "Batching": "runtime",
    "Capacity": "runtime",
    "DisruptionBudget": "runtime",
    "DisruptionReason": "runtime",
    "DisruptionWindow": "runtime",
    "Engine": "runtime",
    "Finishing": "runtime",
    "GpuNodes": "runtime",
    "ImageCache": "runtime",
    "ImageStart": "runtime",
    "InputBucket": "runtime",
    "InputImages": "runtime",
    "Model": "runtime",
    "ModelCache": "runtime",
    "RuntimeImage": "runtime",
    "SafetyChecker": "runtime",
    "Scaling": "runtime",
    "SdNodePool": "runtime",
    "SdRuntime": "runtime",
    "Watermark": "runtime",
    "SdValidation": "validation",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Load a public name from its subpackage (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOMES)
