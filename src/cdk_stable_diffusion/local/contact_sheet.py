"""Put labelled pictures side by side on one sheet."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

_COLUMNS = 3
_SIDE = 256
_MARGIN = 16
_LINE = 15
_LABEL_LINES = 4
_LABEL_CHARACTERS = 42


def write_contact_sheet(pictures: Sequence[tuple[Path, str]], file: Path) -> None:
    """Write a contact sheet.

    Args:
        pictures: The pictures, each with its label.
        file: The sheet, a PNG file.
    """
    from PIL import Image, ImageDraw

    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    cell_height = _SIDE + _LABEL_LINES * _LINE + _MARGIN
    sheet = Image.new(
        "RGB",
        (columns * (_SIDE + _MARGIN) + _MARGIN, rows * cell_height + _MARGIN),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    for index, (picture, label) in enumerate(pictures):
        row, column = divmod(index, columns)
        left, top = _MARGIN + column * (_SIDE + _MARGIN), _MARGIN + row * cell_height
        with Image.open(picture) as image:
            image.thumbnail((_SIDE, _SIDE))
            # Small pictures are enlarged without smoothing: the sheet shows what was generated.
            enlarged = max(1, _SIDE // max(image.size))
            shown = image.convert("RGB").resize(
                (image.width * enlarged, image.height * enlarged), Image.Resampling.NEAREST
            )
        sheet.paste(shown, (left, top))
        lines = [
            line for part in label.splitlines() for line in textwrap.wrap(part, _LABEL_CHARACTERS)
        ]
        draw.multiline_text(
            (left, top + _SIDE + 4), "\n".join(lines[:_LABEL_LINES]), fill="black", spacing=3
        )
    sheet.save(file)
