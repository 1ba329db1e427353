"""Picture files, good and bad."""

from __future__ import annotations

import base64
import io
import struct
import zlib

from PIL import Image


def picture(kind: str = "PNG", size: tuple[int, int] = (16, 8), **options: object) -> bytes:
    """Return a good file."""
    file = io.BytesIO()
    Image.new("RGB", size, (250, 20, 30)).save(file, kind, **options)
    return file.getvalue()


def png_that_says(width: int, height: int) -> bytes:
    """Return a small PNG whose header tells of any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def jpeg_that_says(width: int, height: int) -> bytes:
    """Return a JPEG whose header tells of any size."""
    good = picture("JPEG")
    start = good.index(b"\xff\xc0") + 5
    return good[:start] + struct.pack(">HH", height, width) + good[start + 4 :]


def jpeg_of_scans(scans: int, size: tuple[int, int] = (16, 8)) -> bytes:
    """Return a progressive JPEG whose last scan is repeated until there are so many."""
    good = picture("JPEG", size, progressive=True)
    own, last = good.count(b"\xff\xda"), good.rindex(b"\xff\xda")
    return good[:-2] + good[last:-2] * (scans - own) + good[-2:]


def jpeg_with_segment(data: bytes) -> bytes:
    """Return a JPEG with any text of an application in it."""
    good = picture("JPEG")
    return good[:2] + b"\xff\xe5" + struct.pack(">H", len(data) + 2) + data + good[2:]


def webp_that_says(width: int, height: int) -> bytes:
    """Return an extended WebP whose header tells of any size."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def data_url(data: bytes, kind: str = "png") -> str:
    """Return a file as a data URL."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
