"""The runtimes: `SdRuntime` and the values that configure it."""

from __future__ import annotations

from .gpu_nodes import Capacity, GpuNodes
from .image import RuntimeImage
from .image_start import ImageStart
from .model import Model
from .runtime import SdRuntime
from .scaling import Scaling

__all__ = [
    "Capacity",
    "GpuNodes",
    "ImageStart",
    "Model",
    "RuntimeImage",
    "Scaling",
    "SdRuntime",
]
