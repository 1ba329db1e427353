"""What a file is and how many pixels it holds, by its first bytes and without decoding anything.

This turns away what cannot be a picture before it costs a GPU's time. The engine's process, which
decodes it, counts again by its own reader.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from .refusal import InputRefused

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_FILL = 0xFF
_MOST_JPEG_MARKERS = 10_000
"""Cameras write a few hundred at most; millions would keep the agent's processor busy."""

_MOST_JPEG_SCANS = 100
"""Progressive pictures have about ten. Each may have a few bytes and costs a pass over all pixels,
so that thousands would keep the engine busy for hours."""

_JPEG_SCAN = 0xDA
_JPEG_END = 0xD9
_JPEG_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_WEBP_FRAME = b"\x9d\x01\x2a"
_WEBP_LOSSLESS = 0x2F


@dataclass(frozen=True, kw_only=True, slots=True)
class PictureHeader:
    """What a picture's header says.

    Attributes:
        format: "PNG", "JPEG" or "WEBP".
        width: Width in pixels.
        height: Height in pixels.
    """

    format: str
    width: int
    height: int


def check_picture(data: bytes, *, max_bytes: int, max_pixels: int) -> PictureHeader:
    """Check what can be checked of a picture without decoding it.

    Args:
        data: The file.
        max_bytes: Most bytes.
        max_pixels: Most pixels.

    Raises:
        InputRefused: If it is no PNG, JPEG or WebP, or too large.
    """
    if len(data) > max_bytes:
        raise InputRefused(f"must have at most {max_bytes} bytes")
    try:
        header = _header(data)
    except (struct.error, IndexError):
        header = None
    if header is None:
        raise InputRefused("must be a PNG, JPEG or WebP file")
    pixels = header.width * header.height
    if not 1 <= pixels <= max_pixels:
        raise InputRefused(f"must have 1 to {max_pixels} pixels, has {pixels}")
    return header


def _header(data: bytes) -> PictureHeader | None:
    if data.startswith(_PNG) and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
        return PictureHeader(format="PNG", width=width, height=height)
    if data.startswith(_JPEG):
        return _jpeg_header(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_header(data)
    return None


def _jpeg_header(data: bytes) -> PictureHeader | None:
    position = 2
    for _ in range(_MOST_JPEG_MARKERS):
        if data[position] != _JPEG_FILL:
            return None
        marker = data[position + 1]
        if marker == _JPEG_FILL:
            position += 1
        elif marker in _JPEG_ALONE:
            position += 2
        elif marker in (_JPEG_END, _JPEG_SCAN):
            return None
        elif marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, position + 5)
            _check_scans(data, position)
            return PictureHeader(format="JPEG", width=width, height=height)
        else:
            (length,) = struct.unpack_from(">H", data, position + 2)
            if length < 2:
                return None
            position += 2 + length
    return None


def _check_scans(data: bytes, position: int) -> None:
    """Count the scans as a decoder finds them: marker by marker, up to the end of the picture."""
    scans = 0
    for _ in range(_MOST_JPEG_MARKERS):
        found = _JPEG_NEXT_MARKER.search(data, position)
        if found is None or found[1][0] == _JPEG_END:
            return
        scans += found[1][0] == _JPEG_SCAN
        if scans > _MOST_JPEG_SCANS:
            raise InputRefused(f"must be a JPEG of at most {_MOST_JPEG_SCANS} scans")
        # What a segment holds is no marker. Where its length is cut off, so is the picture.
        length = data[found.end() : found.end() + 2]
        position = found.end() + max(int.from_bytes(length, "big"), 2)
    raise InputRefused(f"must be a JPEG of at most {_MOST_JPEG_MARKERS} segments")


def _webp_header(data: bytes) -> PictureHeader | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width = int.from_bytes(_exactly(data, 24, 3), "little") + 1
        height = int.from_bytes(_exactly(data, 27, 3), "little") + 1
    elif kind == b"VP8L" and data[20] == _WEBP_LOSSLESS:
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif kind == b"VP8 " and data[23:26] == _WEBP_FRAME:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    else:
        return None
    return PictureHeader(format="WEBP", width=width, height=height)


def _exactly(data: bytes, start: int, count: int) -> bytes:
    part = data[start : start + count]
    if len(part) < count:
        raise IndexError
    return part
