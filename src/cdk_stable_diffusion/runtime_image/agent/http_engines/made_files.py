"""What files from an engine are: told by their first bytes, never by their names."""

from __future__ import annotations

import io
import warnings

from PIL import Image

from ....contract.limits import MAX_OUTPUT_PIXELS, MAX_OUTPUT_SIDE
from ..engine import MadeFile, Raster
from ..failure import TaskFailure

_PICTURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
_PLAIN_MODES = ("RGB", "L")
_QUICKTIME = b"qt  "


def made_picture(data: bytes, *, seed: int) -> Raster | MadeFile:
    """Return a file as a picture.

    A plain picture becomes a raster, which is then encoded as the request says. One that moves,
    is transparent or has more than 8 bits a colour would lose that, and stays the file it is.

    Args:
        data: The file.
        seed: The seed it was drawn from.

    Raises:
        TaskFailure: If it is of another kind, broken or too large.
    """
    content_type = _content_type(data)
    if content_type is None:
        raise TaskFailure(
            "generation-failed", "the engine made a file that is no PNG, JPEG, WebP, GIF or MP4"
        )
    if content_type == "video/mp4":
        return MadeFile(data=data, content_type=content_type, width=None, height=None, seed=seed)
    try:
        with warnings.catch_warnings():
            # The size is checked here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _picture(data, content_type, seed)
    except TaskFailure:
        raise
    except Exception as error:
        # A broken file raises errors of many kinds.
        raise TaskFailure(
            "generation-failed", f"the engine made a picture that cannot be read: {error}"
        ) from None


def _picture(data: bytes, content_type: str, seed: int) -> Raster | MadeFile:
    image = Image.open(io.BytesIO(data), formats=_FORMATS)
    width, height = image.size
    if max(width, height) > MAX_OUTPUT_SIDE or width * height > MAX_OUTPUT_PIXELS:
        raise TaskFailure(
            "generation-failed",
            f"the engine made a picture of {width}x{height}: at most {MAX_OUTPUT_PIXELS} pixels",
        )
    plain = (
        content_type != "image/gif"
        and getattr(image, "n_frames", 1) == 1
        and image.mode in _PLAIN_MODES
        and "transparency" not in image.info
    )
    if plain:
        pixels = image.convert("RGB").tobytes()
        return Raster(width=width, height=height, pixels=pixels, seed=seed)
    image.load()
    return MadeFile(data=data, content_type=content_type, width=width, height=height, seed=seed)


def _content_type(data: bytes) -> str | None:
    for start, content_type in _PICTURES.items():
        if data.startswith(start):
            return content_type
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] != _QUICKTIME:
        return "video/mp4"
    return None
