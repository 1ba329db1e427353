"""Draws the plot of `benchmarks.routing_simulated`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cdk_stable_diffusion.planning.drawing import Drawing


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw throughput and loads of each row as bars.

    Args:
        report: As it is written.
        path: File for the plot.
    """
    rows = report["saturated"]
    left, middle, bar, row_height = 130, 520, 330, 30
    height = 110 + row_height * len(rows) + 14 * (len(rows) // 3) + 20
    drawing = Drawing(
        960,
        height,
        title="Lanes and a shared queue, simulated",
        description="; ".join(
            f"{row['name']}, {row['kept']} models kept: {row['tasks_per_second']} tasks a second, "
            f"{row['from_s3_per_1000']} loads from S3 for 1,000 tasks"
            for row in rows
        ),
    )
    drawing.text(20, 30, "8 replicas, 50 models, a queue that never runs dry", style="title")
    drawing.text(left, 58, "tasks a second")
    for at, colour, text in (
        (middle, "#f97316", "loads from S3 / 1,000 tasks"),
        (middle + 220, "#fcd34d", "from memory"),
    ):
        drawing.rectangle(at, 47, 14, 12, fill=colour)
        drawing.text(at + 20, 58, text)
    most = max(row["tasks_per_second"] for row in rows)
    y = 70.0
    for index, row in enumerate(rows):
        if index % 3 == 0:
            y += 14
            kept = f"each replica keeps {row['kept']} models" if row["kept"] else "without a cache"
            drawing.text(20, y + 2, kept, style="small")
            y += 6
        drawing.text(left - 12, y + 17, row["name"], style="note", anchor="end")
        width = bar * row["tasks_per_second"] / most
        colour = "#94a3b8" if row["name"] == "shared queue" else "#2563eb"
        drawing.rectangle(left, y + 2, width, 20, fill=colour)
        drawing.text(left + width + 6, y + 17, f"{row['tasks_per_second']:.2f}")
        x = float(middle)
        for key, fill in (("from_s3_per_1000", "#f97316"), ("from_ram_per_1000", "#fcd34d")):
            width = bar * row[key] / 1_000
            drawing.rectangle(x, y + 2, width, 20, fill=fill)
            x += width
        text = f"{row['from_s3_per_1000']:.0f} + {row['from_ram_per_1000']:.0f}"
        drawing.text(x + 6, y + 17, text)
        y += row_height
    drawing.write(path)
