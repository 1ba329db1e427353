"""What files from an engine are."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from cdk_stable_diffusion.runtime_image.agent.engine import MadeFile, Raster
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.http_engines.made_files import made_picture

_COLOUR = 0x50F0


def encoded(kind: str, mode: str = "RGB", frames: int = 1, size: tuple[int, int] = (4, 6)) -> bytes:
    file = io.BytesIO()
    pictures = [Image.new(mode, size, index * _COLOUR) for index in range(frames)]
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_plain_picture_becomes_a_raster(kind: str, mode: str) -> None:
    made = made_picture(encoded(kind, mode), seed=3)
    assert isinstance(made, Raster)
    assert (made.width, made.height, made.seed, len(made.pixels)) == (4, 6, 3, 4 * 6 * 3)


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (encoded("PNG", "RGBA"), "image/png"),
        (encoded("PNG", "I;16"), "image/png"),
        (encoded("GIF"), "image/gif"),
        (encoded("GIF", frames=3), "image/gif"),
        (encoded("WEBP", frames=3), "image/webp"),
    ],
    ids=["transparent", "16-bit", "gif", "moving-gif", "moving-webp"],
)
def test_what_a_raster_would_lose_stays(data: bytes, content_type: str) -> None:
    made = made_picture(data, seed=3)
    assert made == MadeFile(data=data, content_type=content_type, width=4, height=6, seed=3)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "no PNG"),
        (b"<html>", "no PNG"),
        (b"\0\0\0\x14ftypqt  ", "no PNG"),
        (encoded("PNG")[:40], "cannot be read"),
        (encoded("GIF")[:12], "cannot be read"),
        (encoded("PNG", "1", size=(40_000, 1)), "40000x1"),
        (encoded("PNG", "1", size=(16_384, 8_192)), "16384x8192"),
    ],
    ids=["nothing", "html", "quicktime", "cut-png", "cut-gif", "too-long", "too-large"],
)
def test_what_is_no_picture_is_refused(data: bytes, says: str) -> None:
    with pytest.raises(TaskFailure) as caught:
        made_picture(data, seed=0)
    assert says in caught.value.detail
