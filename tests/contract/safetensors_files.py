"""Safetensors files of zeros, written by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

KOHYA = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"


def safetensors(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> bytes:
    """Return a file with tensors of these shapes."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + bytes(end)
