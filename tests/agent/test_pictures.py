"""Picture files and what is written into them."""

from __future__ import annotations

import io
import json
from dataclasses import MISSING, fields, replace
from typing import Any

import pytest
from PIL import Image, PngImagePlugin

from cdk_stable_diffusion.contract import Parameters, TaskMessage, TaskRequest
from cdk_stable_diffusion.contract.assets import Adapter
from cdk_stable_diffusion.runtime_image.agent.engine import Drawing, Raster
from cdk_stable_diffusion.runtime_image.agent.pictures import EncodedPicture, encode

PROMPT = "ein roter Kreis, 紅い円 🔴"
PARAMETERS = Parameters(16, 8, 8, 3.0, 77, "ddim")
DIGEST = "0123456789abcdef" * 4
TEXT = (
    f"{PROMPT}\nNegative prompt: blue\nSteps: 8, Sampler: ddim, CFG scale: 3, Seed: 78, "
    "Size: 16x8, Model hash: 0123456789, Model: shapes, Version: cdk-stable-diffusion"
)


def _encode(
    output_format: str,
    prompt: str = PROMPT,
    negative_prompt: str = "blue",
    parameters: Parameters = PARAMETERS,
) -> EncodedPicture:
    request = TaskRequest.parse(
        {
            "model": "shapes",
            "prompt": prompt,
            "negative_prompt": negative_prompt,
            "output_format": output_format,
        }
    )
    task = TaskMessage("id", "2026-01-31T12:00:00.000Z", "r", "static", request)
    raster = Raster(width=16, height=8, pixels=bytes((250, 20, 30)) * 128, seed=78)
    drawing = Drawing(
        pictures=(raster,),
        parameters=parameters,
        software={"diffusers": "0.42.1"},
    )
    return encode(task, drawing, raster, DIGEST)


def _metadata(image: Image.Image) -> tuple[str, dict[str, Any]]:
    if isinstance(image, PngImagePlugin.PngImageFile):
        return image.text["parameters"], json.loads(image.text["cdk-stable-diffusion"])
    exif = image.getexif()
    comment = exif.get_ifd(0x8769)[0x9286]
    assert comment.startswith(b"UNICODE\0")
    return comment[8:].decode("utf-16-be"), json.loads(exif[0x010E])


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_picture_tells_how_it_was_made(output_format: str) -> None:
    file = _encode(output_format)
    image = Image.open(io.BytesIO(file.data))
    assert image.format == output_format.upper()
    assert file.content_type == f"image/{output_format}"
    assert image.size == (file.width, file.height) == (16, 8)
    red, green, blue = image.convert("RGB").tobytes()[:3]
    assert red > 240 and green < 40 and blue < 50
    text, document = _metadata(image)
    assert text == TEXT
    assert document == {
        "version": "1",
        "task_id": "id",
        "task_type": "text-to-image",
        "model": "shapes",
        "model_sha256": DIGEST,
        "prompt": PROMPT,
        "negative_prompt": "blue",
        "seed": 78,
        "width": 16,
        "height": 8,
        "steps": 8,
        "guidance_scale": 3.0,
        "scheduler": "ddim",
        "software": {"diffusers": "0.42.1"},
    }


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_a_picture_tells_all_that_decides_what_is_drawn(output_format: str) -> None:
    """All but the size and the seed, which are the picture's own."""
    chosen: dict[str, Any] = {
        "strength": 0.5,
        "scale": 2,
        "adapters": (Adapter("ink", 0.5),),
        "embeddings": ("cat",),
        "vae": "soft",
        "control_scale": 0.25,
        "clip_skip": 2,
    }
    done_to_it = {"safety_checker", "watermark"}
    assert {*chosen, *done_to_it} == {
        each.name for each in fields(Parameters) if each.default is not MISSING
    } - {"scheduler"}
    file = _encode(output_format, parameters=replace(PARAMETERS, **chosen))
    text, document = _metadata(Image.open(io.BytesIO(file.data)))
    written = json.loads(json.dumps(replace(PARAMETERS, **chosen).to_dict()))
    assert {name: document[name] for name in chosen} == {name: written[name] for name in chosen}
    assert text.endswith(
        "Denoising strength: 0.5, Model hash: 0123456789, Model: shapes, Lora: ink:0.5, "
        "Embeddings: cat, VAE: soft, Control scale: 0.25, Clip skip: 2, "
        "Version: cdk-stable-diffusion"
    )


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_the_same_picture_gives_the_same_bytes(output_format: str) -> None:
    assert _encode(output_format).data == _encode(output_format).data


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_the_longest_prompts_fit(output_format: str) -> None:
    image = Image.open(io.BytesIO(_encode(output_format, "🔴" * 4000, "🔵" * 4000).data))
    text, document = _metadata(image)
    assert text.startswith(f"{'🔴' * 4000}\nNegative prompt: {'🔵' * 4000}\nSteps: ")
    assert (document["model"], document["seed"]) == ("shapes", 78)
