"""Draws a grid of generated pictures, each above its prompt."""

from __future__ import annotations

import random
import textwrap
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

from tools.tiny_model.grammar import Scene, describe, random_one_object, random_two_objects
from tools.tiny_model.pipeline import SHIPPED, generate, load, load_defaults

DEFAULT_PICTURE: Final = SHIPPED.parents[4] / "docs" / "images" / "tiny-shapes-grid.png"
_COLUMNS: Final = 6
_ONE_OBJECT_ROWS: Final = 3
_TWO_OBJECTS_ROWS: Final = 2
_ENLARGEMENT: Final = 2
_MARGIN: Final = 10
_LABEL_HEIGHT: Final = 46
_LABEL_LETTERS: Final = 24
_SEED: Final = 2001


def write_grid(folder: Path, picture: Path) -> None:
    """Generates the sample grid.

    Args:
        folder: The pipeline folder to generate with.
        picture: The PNG file to write.
    """
    prompts = sample_prompts()
    defaults = load_defaults(folder)
    images = generate(load(folder), prompts, range(len(prompts)), defaults)
    picture.parent.mkdir(parents=True, exist_ok=True)
    compose(images, prompts).save(picture, optimize=True)


def sample_prompts() -> list[str]:
    """Returns the prompts of the grid: not picked, but drawn with a fixed seed."""
    source = random.Random(_SEED)
    scenes: list[Scene] = [random_one_object(source) for _ in range(_COLUMNS * _ONE_OBJECT_ROWS)]
    scenes += [random_two_objects(source) for _ in range(_COLUMNS * _TWO_OBJECTS_ROWS)]
    return [describe(scene) for scene in scenes]


def compose(images: list[Image.Image], prompts: list[str]) -> Image.Image:
    """Lays pictures out in rows, with each one's prompt below it."""
    side = images[0].width * _ENLARGEMENT
    cell_width, cell_height = side + _MARGIN, side + _LABEL_HEIGHT
    rows = -(-len(images) // _COLUMNS)
    size = (_COLUMNS * cell_width + _MARGIN, rows * cell_height + _MARGIN)
    sheet = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        row, column = divmod(number, _COLUMNS)
        left, top = _MARGIN + column * cell_width, _MARGIN + row * cell_height
        sheet.paste(image.resize((side, side), Image.Resampling.NEAREST), (left, top))
        # A thin frame keeps white pictures apart from the sheet.
        pen.rectangle((left - 1, top - 1, left + side, top + side), outline="lightgray")
        label = "\n".join(textwrap.wrap(prompt, _LABEL_LETTERS))
        pen.multiline_text((left, top + side + 2), label, fill="black", font=font, spacing=1)
    return sheet
