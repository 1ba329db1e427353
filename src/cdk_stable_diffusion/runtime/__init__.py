"""The runtimes: `SdRuntime` and the values that configure it."""

from __future__ import annotations

from .batching import Batching
from .disruption import DisruptionBudget, DisruptionReason, DisruptionWindow
from .engine import Engine
from .finishing import Finishing, SafetyChecker, Watermark
from .gpu_nodes import Capacity, GpuNodes
from .image import RuntimeImage
from .image_cache import ImageCache
from .image_start import ImageStart
from .input_images import InputBucket, InputImages
from .model import Model
from .model_cache import ModelCache
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
    "Finishing",
    "GpuNodes",
    "ImageCache",
    "ImageStart",
    "InputBucket",
    "InputImages",
    "Model",
    "ModelCache",
    "RuntimeImage",
    "SafetyChecker",
    "Scaling",
    "SdNodePool",
    "SdRuntime",
    "Watermark",
]
