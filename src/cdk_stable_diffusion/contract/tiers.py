"""Where a model is, and so how far it is from being drawn with: the nearest first."""

from __future__ import annotations

GPU = "gpu"
"""On the device that draws."""

MEMORY = "memory"
"""Ready in the host's memory."""

DISK = "disk"
"""As files on the machine."""

S3 = "s3"
"""In the model bucket alone."""

TIERS = (GPU, MEMORY, DISK, S3)
