"""Drawings as SVG text: as much of it as our plots need, in the style of the other images.

Every drawing has a white ground, so that it can be read in a dark browser, too. The same figures
give the same text, so that a difference between two files is one in the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

_STYLE = """\
.title{font-size:17px;font-weight:bold;fill:#0f172a}
.head{font-weight:bold;fill:#0f172a}
.note{font-size:12px;fill:#334155}
.small{font-size:11px;fill:#475569}
.grid{stroke:#cbd5e1;stroke-width:1}
.edge{stroke:#334155;stroke-width:1}
.rule{stroke:#94a3b8;stroke-width:1.3;stroke-dasharray:5 4}"""


class Drawing:
    """A drawing, from the top left corner, in pixels."""

    def __init__(self, width: int, height: int, *, title: str, description: str) -> None:
        """Begin with a white ground.

        Args:
            width: Width of the drawing.
            height: Height of the drawing.
            title: What it is, for those who cannot see it.
            description: What it shows, likewise.
        """
        self._size = (width, height)
        self._lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="Helvetica, Arial, sans-serif" font-size="14" role="img" '
            'aria-labelledby="title desc">',
            f'  <title id="title">{escape(title)}</title>',
            f'  <desc id="desc">{escape(description)}</desc>',
            f"  <style>\n{_STYLE}\n  </style>",
        ]
        self.rectangle(0, 0, width, height, fill="#ffffff")

    def rectangle(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        *,
        fill: str,
        style: str = "",
        hint: str = "",
    ) -> None:
        """Draw a rectangle.

        Args:
            x: Left edge.
            y: Top edge.
            width: Width.
            height: Height.
            fill: Colour.
            style: Class of its edge. Default: no edge.
            hint: What a mouse over it shows. Default: nothing.
        """
        inside = f"><title>{escape(hint)}</title></rect>" if hint else "/>"
        style = f' class="{style}"' if style else ""
        self._lines.append(
            f'  <rect{style} x="{_number(x)}" y="{_number(y)}" width="{_number(width)}" '
            f'height="{_number(height)}" fill={quoteattr(fill)}{inside}'
        )

    def line(self, x1: float, y1: float, x2: float, y2: float, *, style: str) -> None:
        """Draw a line from one point to another.

        Args:
            x1: Where it begins.
            y1: Where it begins.
            x2: Where it ends.
            y2: Where it ends.
            style: Its class.
        """
        self._lines.append(
            f'  <path class="{style}" d="M{_number(x1)} {_number(y1)}L{_number(x2)} {_number(y2)}" '
            'fill="none"/>'
        )

    def curve(
        self,
        points: Sequence[tuple[float, float]],
        *,
        colour: str,
        width: float = 2,
        hint: str = "",
    ) -> None:
        """Draw a line through points.

        Args:
            points: The points.
            colour: Its colour.
            width: How wide it is. Default: 2.
            hint: What a mouse over it shows. Default: nothing.
        """
        path = "L".join(f"{_number(x)} {_number(y)}" for x, y in points)
        inside = f"><title>{escape(hint)}</title></path>" if hint else "/>"
        self._lines.append(
            f'  <path d="M{path}" fill="none" stroke={quoteattr(colour)} '
            f'stroke-width="{_number(width)}" stroke-linejoin="round"{inside}'
        )

    def text(
        self, x: float, y: float, text: str, *, style: str = "note", anchor: str = "start"
    ) -> None:
        """Write a line of text.

        Args:
            x: Where it is anchored.
            y: Its base line.
            text: The text.
            style: Its class. Default: a note.
            anchor: "start", "middle" or "end". Default: "start".
        """
        self._lines.append(
            f'  <text class="{style}" x="{_number(x)}" y="{_number(y)}" text-anchor="{anchor}">'
            f"{escape(text)}</text>"
        )

    def write(self, path: Path) -> None:
        """Write the drawing.

        Args:
            path: The file.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join([*self._lines, "</svg>", ""]), "utf-8")


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
