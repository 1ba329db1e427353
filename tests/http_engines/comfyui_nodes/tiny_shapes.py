"""A node for a real ComfyUI that draws with the tiny model, which is of no kind that ComfyUI knows.

It tells its steps and heeds interruptions as ComfyUI's own sampler does.
"""

from __future__ import annotations

import os
from typing import Any

import folder_paths  # type: ignore[import-not-found]
import torch
from comfy import model_management, utils  # type: ignore[import-not-found]
from diffusers import StableDiffusionPipeline


class TinyShapes:
    """Draws shapes."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "draw"
    CATEGORY = "tests"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """Name what it takes."""
        (top,) = folder_paths.get_folder_paths("diffusers")
        found = [
            os.path.relpath(folder, top)
            for folder, _, files in os.walk(top, followlinks=True)
            if "model_index.json" in files
        ]
        side = {"default": 64, "min": 8, "max": 512, "step": 8}
        return {
            "required": {
                "model_path": (found,),
                "prompt": ("STRING", {"multiline": True}),
                "seed": ("INT", {"default": 0, "min": 0, "max": 2**63}),
                "steps": ("INT", {"default": 8, "min": 1, "max": 1_000}),
                "width": ("INT", side),
                "height": ("INT", side),
            }
        }

    def draw(self, **given: Any) -> tuple[Any]:
        """Draw."""
        (top,) = folder_paths.get_folder_paths("diffusers")
        pipeline = StableDiffusionPipeline.from_pretrained(
            os.path.join(top, given["model_path"]), torch_dtype=torch.float32
        )
        bar = utils.ProgressBar(given["steps"])

        def on_step(_: Any, step: int, time: Any, values: Any) -> Any:
            model_management.throw_exception_if_processing_interrupted()
            bar.update_absolute(step + 1, given["steps"])
            return values

        drawn = pipeline(
            given["prompt"],
            num_inference_steps=given["steps"],
            guidance_scale=3.0,
            width=given["width"],
            height=given["height"],
            generator=torch.Generator().manual_seed(given["seed"]),
            callback_on_step_end=on_step,
            output_type="np",
        )
        return (torch.from_numpy(drawn.images),)


NODE_CLASS_MAPPINGS = {"TinyShapes": TinyShapes}
