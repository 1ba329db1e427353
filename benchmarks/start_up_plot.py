"""Draws the timeline of `benchmarks.start_up_timeline`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.start_up_timeline import (
    BLOCKS,
    CONTAINER,
    DOWNLOAD,
    DRAW,
    IMAGE,
    IMPORTS,
    NODE,
    POLL,
    Mode,
)
from cdk_stable_diffusion.planning.drawing import Drawing

_COLOURS = {
    POLL: "#94a3b8",
    NODE: "#60a5fa",
    IMAGE: "#f97316",
    CONTAINER: "#facc15",
    BLOCKS: "#fda4af",
    IMPORTS: "#a78bfa",
    DOWNLOAD: "#34d399",
    DRAW: "#059669",
}
_WIDTH, _LEFT, _RIGHT = 1_160, 250, 50
_TOP, _ROW, _BAR = 142, 88, 20
_AXIS_SECONDS = 440
_TICK_SECONDS = 60
_SCALE = (_WIDTH - _LEFT - _RIGHT) / _AXIS_SECONDS


def draw(modes: Sequence[Mode], path: Path) -> None:
    """Draw two bars for each mode: the least that sources give for every phase, and the most.

    Args:
        modes: The modes.
        path: File for the drawing.
    """
    height = _TOP + _ROW * len(modes) + 70
    drawing = Drawing(
        _WIDTH,
        height,
        title="From the first task to the first picture, with no node running",
        description="; ".join(
            f"{mode.name}: {mode.total('least'):.0f} to {mode.total('most'):.0f} seconds"
            for mode in modes
        ),
    )
    drawing.text(20, 32, "From the first task to the first picture, no node running", style="title")
    drawing.text(
        20,
        53,
        "Upper bar: the least that a source gives for each phase; lower bar: the most. Published "
        "pulls are of images of 8 to 12 GB compressed.",
    )
    _legend(drawing)
    _axis(drawing, height)
    for index, mode in enumerate(modes):
        _row(drawing, mode, _TOP + index * _ROW)
    drawing.text(
        20,
        height - 16,
        "Not drawn, since nobody has published it: request to queue, and the load of the model "
        "from disk to the GPU. Figures and sources: docs/architecture/start-up.md",
    )
    drawing.write(path)


def _legend(drawing: Drawing) -> None:
    for index, (phase, colour) in enumerate(_COLOURS.items()):
        x, y = 20 + 200 * (index % 5), 72 + 24 * (index // 5)
        drawing.rectangle(x, y, 14, 14, fill=colour)
        drawing.text(x + 20, y + 12, phase)
    drawing.line(620, 103, 650, 103, style="rule")
    drawing.text(660, 108, "the volume fills in the background")


def _axis(drawing: Drawing, height: int) -> None:
    bottom = height - 60
    for seconds in range(0, _AXIS_SECONDS + 1, _TICK_SECONDS):
        x = _LEFT + seconds * _SCALE
        drawing.line(x, _TOP - 10, x, bottom, style="grid")
        drawing.text(x, bottom + 18, f"{seconds // 60} min" if seconds else "0", anchor="middle")


def _row(drawing: Drawing, mode: Mode, top: float) -> None:
    drawing.text(20, top + 18, mode.name, style="head")
    for line, text in enumerate(_lines(mode.remark, 36)):
        drawing.text(20, top + 35 + 14 * line, text, style="small")
    for y, bound in ((top + 2, "least"), (top + 2 + _BAR + 4, "most")):
        end = _bar(drawing, mode, y, bound)
        total = mode.total(bound)
        beyond = total > _AXIS_SECONDS
        if beyond:
            text = f"more than {total // 60:.0f} min"
            drawing.text(_WIDTH - _RIGHT - 8, y + 15, f"{text} →", style="head", anchor="end")
        else:
            drawing.text(_LEFT + end * _SCALE + 6, y + 15, f"{total:.0f} s")
    if mode.hydrating is not None:
        launch = mode.figures[POLL].least or 0.0
        y = top + 2 * _BAR + 14
        seconds = mode.hydrating.most or 0.0
        begin, end = (_LEFT + at * _SCALE for at in (launch, launch + seconds))
        drawing.line(begin, y, end, y, style="rule")
        drawing.text(end + 6, y + 5, f"{seconds:.0f} s from the launch on", style="small")


def _bar(drawing: Drawing, mode: Mode, y: float, bound: str) -> float:
    """Draw the phases one after another, and return when the last one ends."""
    at = 0.0
    for phase, figure in mode.figures.items():
        seconds = getattr(figure, bound)
        if not seconds:
            continue
        begin, end = (_LEFT + min(each, _AXIS_SECONDS) * _SCALE for each in (at, at + seconds))
        hint = f"{mode.name}, {phase}: {figure.text} ({figure.kind.value})"
        drawing.rectangle(
            begin, y, end - begin, _BAR, fill=_COLOURS[phase], style="edge", hint=hint
        )
        at += seconds
    return at


def _lines(text: str, width: int) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield line
            line = ""
        line = f"{line} {word}".strip()
    yield line
