"""Encoding pictures, with everything that is needed to draw them again written into the file."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from typing import Any

from PIL import Image, PngImagePlugin

from ...contract import CONTRACT_VERSION, Parameters, TaskMessage
from .engine import Drawing, MadeFile, Raster
from .png import png_file

JSON_KEY = "cdk-stable-diffusion"
"""Name of the JSON entry in a PNG."""

_EXIF_IMAGE_DESCRIPTION = 0x010E
_EXIF_SOFTWARE = 0x0131
_EXIF_DIRECTORY = 0x8769
_EXIF_USER_COMMENT = 0x9286
_JPEG_QUALITY = 95
_MOST_JPEG_EXIF_BYTES = 65_533
_WEBP_QUALITY = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPicture:
    """A picture as a file.

    Attributes:
        data: The file.
        content_type: Its media type.
        width: Width in pixels.
        height: Height in pixels.
        seed: The seed it was drawn from.
    """

    data: bytes = field(repr=False)
    content_type: str
    width: int | None
    height: int | None
    seed: int


def encode(
    task: TaskMessage, drawing: Drawing, picture: Raster | MadeFile, digest: str
) -> EncodedPicture:
    """Encode a picture in the format that the task asks for.

    Args:
        task: The task.
        drawing: What the engine made of it.
        picture: The picture in it. What is a file already stays as it is.
        digest: Identity of the model's weights.

    Returns:
        The file. The same picture always gives the same bytes.
    """
    if isinstance(picture, MadeFile):
        return EncodedPicture(
            data=picture.data,
            content_type=picture.content_type,
            width=picture.width,
            height=picture.height,
            seed=picture.seed,
        )
    return _encode_raster(task, drawing, picture, digest)


def _encode_raster(
    task: TaskMessage, drawing: Drawing, raster: Raster, digest: str
) -> EncodedPicture:
    size = (raster.width, raster.height)
    document = _document(task, drawing, raster, digest)
    text = parameters_text(task, drawing.parameters, raster.seed, digest)
    output_format = task.request.output_format
    if output_format == "png":
        info = PngImagePlugin.PngInfo()
        info.add_text("parameters", text)
        info.add_text(JSON_KEY, _json(document))
        data = png_file(size, raster.pixels, info)
    else:
        image, file = Image.frombytes("RGB", size, raster.pixels), io.BytesIO()
        exif = _exif(text, document)
        if output_format == "jpeg":
            if len(exif.tobytes()) > _MOST_JPEG_EXIF_BYTES:
                # Long prompts do not fit twice; they stay in the text.
                exif = _exif(text, {**document, "prompt": None, "negative_prompt": None})
            image.save(file, "JPEG", quality=_JPEG_QUALITY, subsampling=0, exif=exif)
        else:
            image.save(file, "WEBP", quality=_WEBP_QUALITY, exif=exif)
        data = file.getvalue()
    return EncodedPicture(
        data=data,
        content_type=f"image/{output_format}",
        width=raster.width,
        height=raster.height,
        seed=raster.seed,
    )


def parameters_text(task: TaskMessage, parameters: Parameters, seed: int, digest: str) -> str:
    """Return the parameters in the text form that picture tools read.

    Args:
        task: The task.
        parameters: The values that were used.
        seed: The picture's seed.
        digest: Identity of the model's weights.
    """
    request = task.request
    drawn = {
        "Steps": parameters.steps,
        "Sampler": parameters.scheduler or "model default",
        "CFG scale": f"{parameters.guidance_scale or 0:g}",
        "Seed": seed,
    }
    values = {
        # Of upscaling there is nothing of the kind to tell.
        **(drawn if parameters.steps is not None else {}),
        "Size": f"{parameters.width}x{parameters.height}",
        **({} if parameters.strength is None else {"Denoising strength": parameters.strength}),
        "Model hash": digest[:10],
        "Model": request.model,
        **_added_text(parameters),
        "Version": JSON_KEY,
    }
    lines = [request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    lines.append(", ".join(f"{name}: {value}" for name, value in values.items()))
    return "\n".join(lines)


def _document(task: TaskMessage, drawing: Drawing, raster: Raster, digest: str) -> dict[str, Any]:
    parameters = drawing.parameters
    return {
        "version": CONTRACT_VERSION,
        "task_id": task.task_id,
        "task_type": task.request.task_type,
        "model": task.request.model,
        "model_sha256": digest,
        "prompt": task.request.prompt,
        "negative_prompt": task.request.negative_prompt,
        "seed": raster.seed,
        "width": raster.width,
        "height": raster.height,
        "steps": parameters.steps,
        "guidance_scale": parameters.guidance_scale,
        "scheduler": parameters.scheduler,
        "software": drawing.software,
        **({} if parameters.strength is None else {"strength": parameters.strength}),
        **({} if parameters.scale is None else {"scale": parameters.scale}),
        **{name: value for name, value in parameters.to_dict().items() if name in _ADDED},
    }


_ADDED = frozenset({"adapters", "embeddings", "vae", "control_scale", "clip_skip"})


def _added_text(parameters: Parameters) -> dict[str, str]:
    """Return what was added to the model or chosen of it, in words without a comma."""
    added = {
        "Lora": " ".join(f"{each.name}:{each.weight:g}" for each in parameters.adapters),
        "Embeddings": " ".join(parameters.embeddings),
        "VAE": parameters.vae or "",
        "Control scale": ""
        if parameters.control_scale is None
        else f"{parameters.control_scale:g}",
        "Clip skip": "" if parameters.clip_skip is None else str(parameters.clip_skip),
    }
    return {name: value for name, value in added.items() if value}


def _json(document: dict[str, Any]) -> str:
    # ASCII alone, so that it fits every format's kind of text.
    return json.dumps(document, separators=(",", ":"))


def _exif(text: str, document: dict[str, Any]) -> Image.Exif:
    exif = Image.Exif()
    exif[_EXIF_SOFTWARE] = JSON_KEY
    exif[_EXIF_IMAGE_DESCRIPTION] = _json(document)
    comment = b"UNICODE\0" + text.encode("utf-16-be")
    exif.get_ifd(_EXIF_DIRECTORY)[_EXIF_USER_COMMENT] = comment
    return exif
