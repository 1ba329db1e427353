"""A visible watermark: a line of text in a corner."""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

_SHARE_OF_HEIGHT = 28
_SMALLEST = 8
_INK = (255, 255, 255, 200)
_OUTLINE = (0, 0, 0, 160)


def write_on(picture: Image.Image, text: str) -> Image.Image:
    """Write a text on a picture, at the lower right, as small as it must be to fit.

    Args:
        picture: The picture.
        text: The text.
    """
    margin = max(2, picture.height // 64)
    size = max(_SMALLEST, picture.height // _SHARE_OF_HEIGHT)
    layer = Image.new("RGBA", picture.size)
    draw = ImageDraw.Draw(layer)
    font = ImageFont.load_default(size)
    while size > _SMALLEST and draw.textlength(text, font) > picture.width - 2 * margin:
        size -= 1
        font = ImageFont.load_default(size)
    corner = (picture.width - margin, picture.height - margin)
    draw.text(
        corner, text, _INK, font, anchor="rs", stroke_width=max(1, size // 16), stroke_fill=_OUTLINE
    )
    return Image.alpha_composite(picture.convert("RGBA"), layer).convert("RGB")
