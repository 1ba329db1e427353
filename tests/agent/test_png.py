"""PNG files that Pillow reads back as they were drawn."""

from __future__ import annotations

import io
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter, PngImagePlugin

from cdk_stable_diffusion.runtime_image.agent.png import png_file


def _noise(width: int, height: int, seed: int = 0) -> Image.Image:
    pixels = random.Random(seed).randbytes(width * height * 3)
    return Image.frombytes("RGB", (width, height), pixels)


def _file(image: Image.Image, **texts: str) -> bytes:
    return png_file(image.size, image.tobytes(), _info(**texts))


def _info(**texts: str) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    return info


@given(
    width=st.integers(1, 40), height=st.integers(1, 40), seed=st.integers(0, 99), flat=st.booleans()
)
def test_every_pixel_comes_back(width: int, height: int, seed: int, flat: bool) -> None:
    image = _noise(width, height, seed)
    if flat:
        image = image.resize((1, 1)).resize((width, height))
    read = Image.open(io.BytesIO(_file(image)))
    assert (read.format, read.mode, read.size) == ("PNG", "RGB", image.size)
    read.load()
    assert read.tobytes() == image.tobytes()


def test_texts_come_back() -> None:
    texts = {"parameters": "ein Kreis, 紅い円 🔴", "b": "x" * 5_000}
    read = Image.open(io.BytesIO(_file(_noise(16, 8), **texts)))
    assert isinstance(read, PngImagePlugin.PngImageFile)
    assert read.text == texts


def test_the_same_picture_gives_the_same_bytes() -> None:
    assert _file(_noise(16, 8), a="b") == _file(_noise(16, 8), a="b")


@pytest.mark.parametrize("size", [(300, 150), (30_000, 3), (2, 9_000)])
def test_every_pixel_comes_back_of_several_bands(size: tuple[int, int]) -> None:
    image = _noise(*size)
    assert Image.open(io.BytesIO(_file(image))).tobytes() == image.tobytes()


@pytest.mark.parametrize("kind", ["photograph", "drawing"])
def test_it_is_hardly_larger_than_pillows(kind: str) -> None:
    if kind == "photograph":
        smooth = _noise(64, 64).resize((256, 256), Image.Resampling.BICUBIC)
        image = Image.blend(smooth, _noise(256, 256, 1).filter(ImageFilter.GaussianBlur(1)), 0.1)
    else:
        image = Image.new("RGB", (256, 256), "white")
        image.paste("red", (40, 60, 200, 180))
    pillows = io.BytesIO()
    image.save(pillows, "PNG", compress_type=zlib.Z_RLE)
    assert len(_file(image)) <= 1.1 * len(pillows.getvalue())
