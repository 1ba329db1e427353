"""ComfyUI workflows for tests."""

from __future__ import annotations

import copy
import json
from typing import Any

CHECKPOINT = "base.safetensors"

_NODES: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 0,
            "steps": 4,
            "cfg": 7.0,
            "sampler_name": "euler",
            "scheduler": "normal",
            "denoise": 1.0,
            "model": ["4", 0],
            "positive": ["6", 0],
            "negative": ["7", 0],
            "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": CHECKPOINT}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "", "clip": ["4", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "ComfyUI", "images": ["8", 0]}},
}
_PLACES = {
    "prompt": [{"node": "6", "input": "text"}],
    "negative_prompt": [{"node": "7", "input": "text"}],
    "seed": [{"node": "3", "input": "seed"}],
    "width": [{"node": "5", "input": "width"}],
    "height": [{"node": "5", "input": "height"}],
    "steps": [{"node": "3", "input": "steps"}],
    "guidance_scale": [{"node": "3", "input": "cfg"}],
}


def workflow_files(
    *,
    save: str = "SaveImage",
    weights: str = "weights",
    nodes: dict[str, Any] | None = None,
    places: dict[str, Any] | None = None,
    outputs: list[str] | None = None,
    checkpoint: str = CHECKPOINT,
) -> dict[str, bytes]:
    """Return the files of a workflow's directory.

    Args:
        save: Class of the node that saves the result.
        weights: What its checkpoint holds.
        nodes: Nodes to add or replace.
        places: Places of fields to add, replace or, as None, to leave out.
        outputs: The result's nodes, if they are named.
        checkpoint: Name of its checkpoint.
    """
    graph = copy.deepcopy(_NODES)
    graph["9"]["class_type"] = save
    graph["4"]["inputs"]["ckpt_name"] = checkpoint
    if save == "VHS_VideoCombine":
        graph["9"]["inputs"]["format"] = "image/gif"
    graph.update(nodes or {})
    chosen = {name: each for name, each in {**_PLACES, **(places or {})}.items() if each}
    inputs: dict[str, Any] = {"inputs": chosen}
    if outputs is not None:
        inputs["outputs"] = [{"node": node} for node in outputs]
    return {
        "workflow.json": json.dumps(graph).encode(),
        "workflow_inputs.json": json.dumps(inputs).encode(),
        f"checkpoints/{checkpoint}": weights.encode(),
    }


def image_workflow_files() -> dict[str, bytes]:
    """Return the files of a workflow that begins with an image."""
    return workflow_files(
        nodes={
            "10": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
            "3": {
                "class_type": "KSampler",
                "inputs": {**_NODES["3"]["inputs"], "latent_image": ["10", 0]},
            },
        },
        places={
            "image": [{"node": "10", "input": "image"}],
            "strength": [{"node": "3", "input": "denoise"}],
            "width": None,
            "height": None,
        },
    )
