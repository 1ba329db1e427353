"""Decoding input images, here and not in the agent: a decoder's fault takes this process alone."""

from __future__ import annotations

import io

import numpy
from PIL import Image, ImageOps

from .failure import EngineFailure

_FORMATS = ("PNG", "JPEG", "WEBP")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How a picture is turned back, by what its EXIF says of how it lies."""


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
            return _eight_bits(_upright(file))
    except EngineFailure:
        raise
    except MemoryError:
        raise EngineFailure(
            "out-of-memory", f"there is not enough memory to decode {name}", transient=True
        ) from None
    except Exception:
        # A library's words may tell of the file's content, which others may read in the result.
        raise EngineFailure(
            "input-invalid", f"{name} cannot be decoded as a PNG, JPEG or WebP"
        ) from None


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture the way up that its EXIF says, and take it as it is where that is broken."""
    try:
        orientation = picture.getexif().get(_ORIENTATION)
    except Exception:
        # Cameras and editors write a lot that no reader understands; the pixels are good even so.
        orientation = None
    turn = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture.copy() if turn is None else picture.transpose(turn)


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Scale 16 bits down to 8; converting would cut them off at the brightest 8-bit value."""
    if not picture.mode.startswith("I"):
        return picture
    return Image.fromarray((numpy.asarray(picture).astype("uint32") >> 8).astype("uint8"))
