"""The runtimes: `SdRuntime` and the values that configure it."""

from __future__ import annotations

from .batching import Batching
from .disruption import DisruptionBudget, DisruptionReason, DisruptionWindow
from .engine import Engine
from .gpu_nodes import Capacity, GpuNodes
from .image import RuntimeImage
from .image_cache import ImageCache
from .image_start import ImageStart
from .input_images import InputBucket, InputImages
from .model import Model
from .pool import SdNodePool
from .runtime import SdRuntime
from .scaling import Scaling

__all__ = [
    "Batching",
    "Capacity",
    "DisruptionBudget",
    "DisruptionReason",
    "DisruptionWindow",
    "Engine",
    "GpuNodes",
    "ImageCache",
    "ImageStart",
    "InputBucket",
    "InputImages",
    "Model",
    "RuntimeImage",
    "Scaling",
    "SdNodePool",
    "SdRuntime",
]
