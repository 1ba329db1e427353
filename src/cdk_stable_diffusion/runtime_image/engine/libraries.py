"""Importing torch and diffusers, which takes seconds: only what is needed, and only once."""

from __future__ import annotations

import gc
import os
import warnings


def import_libraries() -> None:
    """Import what every model needs."""
    # Nothing here may reach for the network, whatever a model's files say.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    # Idle threads that spin would take the processor from the agent's own work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore", category=FutureWarning)
    gc.disable()
    try:
        _import()
    finally:
        gc.enable()
        # What was imported stays for good; no collection needs to look at it again.
        gc.freeze()


def _import() -> None:
    import torch

    threads = os.environ.get("SD_ENGINE_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    from .pipeline_classes import pipeline_class

    pipeline_class("StableDiffusionPipeline")
    import diffusers.utils.logging
    import transformers.utils.logging

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
