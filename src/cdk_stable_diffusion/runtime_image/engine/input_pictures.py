"""Decoding input images, here and not in the agent: a decoder's fault takes this process alone."""

from __future__ import annotations

import io
from typing import Any

import numpy
from PIL import Image, ImageOps

from .failure import EngineFailure

_FORMATS = ("PNG", "JPEG", "WEBP")


def decode_picture(data: bytes, name: str, *, max_pixels: int) -> Image.Image:
    """Decode a picture, turned the way up that it says.

    Args:
        data: The file: PNG, JPEG or WebP. Of moving pictures the first is taken.
        name: The request's field, for the words of a refusal.
        max_pixels: Most pixels, counted before anything is decoded.

    Returns:
        The picture in RGB, on white where it is transparent.

    Raises:
        EngineFailure: If it cannot be decoded or is too large.
    """
    picture = _decode(data, name, max_pixels)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def decode_mask(data: bytes, name: str, *, max_pixels: int) -> Image.Image:
    """Decode a mask.

    Args:
        data: The file: PNG, JPEG or WebP.
        name: The request's field, for the words of a refusal.
        max_pixels: Most pixels, counted before anything is decoded.

    Returns:
        The mask in grey, on black where it is transparent: what is not there is kept.

    Raises:
        EngineFailure: If it cannot be decoded or is too large.
    """
    mask = _decode(data, name, max_pixels)
    if mask.has_transparency_data:
        mask = mask.convert("RGBA")
        mask = Image.alpha_composite(Image.new("RGBA", mask.size, "black"), mask)
    return mask.convert("L")


def fitted(picture: Image.Image, size: tuple[int, int], *, smooth: bool = True) -> Image.Image:
    """Scale a picture to cover a size, and cut off evenly what stands over.

    Args:
        picture: The picture.
        size: Width and height in pixels.
        smooth: Whether to sharpen edges as for pictures, rather than keep to the values that are
            there as for masks. Default: yes.
    """
    if picture.size == size:
        return picture
    method = Image.Resampling.LANCZOS if smooth else Image.Resampling.BILINEAR
    return ImageOps.fit(picture, size, method)


def _decode(data: bytes, name: str, max_pixels: int) -> Image.Image:
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as file:
            pixels = file.width * file.height
            if pixels > max_pixels:
                raise EngineFailure(
                    "input-invalid", f"{name} must have at most {max_pixels} pixels, has {pixels}"
                )
            file.load()
            upright: Any = ImageOps.exif_transpose(file)
            return _eight_bits(upright)
    except EngineFailure:
        raise
    except MemoryError:
        raise
    except Exception:
        # A library's words may tell of the file's content, which others may read in the result.
        raise EngineFailure(
            "input-invalid", f"{name} cannot be decoded as a PNG, JPEG or WebP"
        ) from None


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16 bits down to 8; converting would cut them off at the brightest 8-bit value."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((numpy.asarray(picture).astype("uint32") >> 8).astype("uint8"))
