"""Draws the plot of `benchmarks.model_load`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdk_stable_diffusion.planning.drawing import Drawing

_LEFT, _BAR, _ROW = 250, 560, 26
_RAW = "#94a3b8"
_WAYS = (
    ("parallel GETs that keep nothing", (("raw", _RAW),)),
    (
        "download_file, from_pretrained",
        (("download_file", "#f97316"), ("from_pretrained", "#fcd34d")),
    ),
    ("agent and engine, checked", (("agent", "#2563eb"), ("engine", "#93c5fd"))),
)


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw the seconds of each way as bars, for each network.

    Args:
        report: As it is written.
        path: File for the plot.
    """
    rows = report["rows"]
    drawing = Drawing(
        960,
        60 + len(rows) * (3 * _ROW + 40),
        title="From the bucket to a ready pipeline",
        description="; ".join(
            f"{_network(row)}: "
            + ", ".join(f"{way} {_seconds(row, parts):.2f} s" for way, parts in _WAYS)
            for row in rows
        ),
    )
    drawing.text(20, 30, f"{report['bytes'] / 1e9:.2f} GB to a ready pipeline", style="title")
    y = 46.0
    for row in rows:
        most = max(_seconds(row, parts) for _, parts in _WAYS)
        drawing.text(20, y + 20, _network(row), style="small")
        y += 28
        for way, parts in _WAYS:
            drawing.text(_LEFT - 12, y + 16, way, style="note", anchor="end")
            x = float(_LEFT)
            for name, colour in parts:
                width = _BAR * row["seconds"][name]["median"] / most
                drawing.rectangle(x, y + 2, width, 18, fill=colour)
                x += width
            drawing.text(x + 6, y + 16, f"{_seconds(row, parts):.2f} s")
            y += _ROW
        y += 12
    drawing.write(path)


def _seconds(row: Mapping[str, Any], parts: tuple[tuple[str, str], ...]) -> float:
    return float(sum(row["seconds"][name]["median"] for name, _ in parts))


def _network(row: Mapping[str, Any]) -> str:
    limit = row["gigabits_per_second"]
    return f"a network of {limit:g} Gbit/s" if limit else "as fast as this machine serves"
