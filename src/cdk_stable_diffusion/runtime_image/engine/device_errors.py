"""What the device is to blame for, rather than the request or the model."""

from __future__ import annotations

import gc

import torch

from .failure import BrokenDevice, EngineFailure


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory has run out, of the device or of the host.

    Args:
        error: What a library or `raise_device_errors` raised.
    """
    if isinstance(error, EngineFailure):
        return error.code == "out-of-memory"
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return "can't allocate memory" in str(error)


def raise_device_errors(error: Exception) -> None:
    """Raise what a device's fault means; do nothing about any other error.

    Args:
        error: What a library raised.

    Raises:
        EngineFailure: If memory has run out.
        BrokenDevice: If the device needs a new process.
    """
    text = str(error)
    if is_out_of_memory(error):
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise EngineFailure("out-of-memory", text or "out of memory", transient=True) from error
    if "CUDA error" in text or "CUDNN_STATUS" in text or "CUBLAS_STATUS" in text:
        raise BrokenDevice("generation-failed", text, transient=True) from error
