"""Plots of outcomes, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .drawing import Drawing
from .outcome import Outcome

COLOURS = ("#94a3b8", "#f59e0b", "#2563eb", "#059669", "#a78bfa", "#f97316")

_WIDTH, _LEFT, _RIGHT = 960, 70, 30
_TOP, _PLOT = 92, 260


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """A line of a plot.

    Attributes:
        name: What it is.
        values: Its values by hour; None where there is none.
    """

    name: str
    values: Sequence[float | None]


def draw_waiting(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw by hour how long 95 percent of the tasks waited at most.

    Args:
        outcomes: One for each line.
        path: File for the plot.
    """
    series = [Series(name=each.setup.name, values=each.waiting_by_hour(95)) for each in outcomes]
    _draw_hours(
        series,
        path,
        title="Waiting by hour, 95th percentile, in seconds",
        note="From the request until the GPU draws: in the queue, for a replica, for the model",
    )


def draw_gpus(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw by hour how many GPUs were paid for.

    Args:
        outcomes: One for each line.
        path: File for the plot.
    """
    series = [Series(name=each.setup.name, values=each.gpus_by_hour()) for each in outcomes]
    _draw_hours(
        series,
        path,
        title="GPUs by hour",
        note="Nodes that are paid for, on average, from their request on",
    )


def draw_comparison(outcomes: Sequence[Outcome], path: Path) -> None:
    """Draw in bars what the outcomes come to.

    Args:
        outcomes: One for each row.
        path: File for the plot.
    """
    panels: tuple[tuple[str, Callable[[Outcome], float], str], ...] = (
        ("waiting, 95th percentile, s", lambda each: each.waiting_percentile(95), ",.0f"),
        ("loads of a model / 1,000 tasks", lambda each: each.loads_per_1000, ",.0f"),
        ("dollars / 1,000 pictures", lambda each: each.dollars_per_1000_pictures, ",.2f"),
    )
    left, gap, row = 180, 80, 34
    bar = (_WIDTH - left - len(panels) * gap) / len(panels)
    drawing = Drawing(
        _WIDTH,
        80 + row * len(outcomes),
        title="The setups compared",
        description="; ".join(
            f"{each.setup.name}: "
            + ", ".join(f"{format(value(each), form)} {name}" for name, value, form in panels)
            for each in outcomes
        ),
    )
    drawing.text(20, 30, "The setups compared", style="title")
    for index, outcome in enumerate(outcomes):
        drawing.text(left - 12, 84 + row * index, outcome.setup.name, style="head", anchor="end")
    for column, (name, value, form) in enumerate(panels):
        x = left + column * (bar + gap)
        drawing.text(x, 58, name)
        most = max(map(value, outcomes)) or 1.0
        for index, outcome in enumerate(outcomes):
            y, width = 68 + row * index, bar * value(outcome) / most
            drawing.rectangle(x, y, width, 22, fill=_colour(index))
            drawing.text(x + width + 6, y + 16, format(value(outcome), form))
    drawing.write(path)


def _draw_hours(series: Sequence[Series], path: Path, *, title: str, note: str) -> None:
    hours = max(len(each.values) for each in series)
    most = max((value for each in series for value in each.values if value), default=1.0)
    step = _step(most)
    top = step * math.ceil(most / step)
    drawing = Drawing(
        _WIDTH,
        _TOP + _PLOT + 50,
        title=title,
        description="; ".join(
            f"{each.name}: at most {max((v for v in each.values if v is not None), default=0):,.1f}"
            for each in series
        ),
    )
    drawing.text(20, 30, title, style="title")
    drawing.text(20, 50, note)
    for index, each in enumerate(series):
        x = _LEFT + 210 * index
        drawing.curve([(x, 70), (x + 24, 70)], colour=_colour(index), width=3)
        drawing.text(x + 32, 75, each.name)

    def place(hour: float, value: float) -> tuple[float, float]:
        x = _LEFT + (_WIDTH - _LEFT - _RIGHT) * hour / hours
        return x, _TOP + _PLOT * (1 - value / top)

    for line in range(round(top / step) + 1):
        (x1, y), (x2, _) = place(0, line * step), place(hours, line * step)
        drawing.line(x1, y, x2, y, style="grid")
        drawing.text(x1 - 8, y + 4, f"{line * step:,g}", style="small", anchor="end")
    every = max(1, math.ceil(hours / 24))
    for hour in range(0, hours + 1, every * (2 if hours > 12 else 1)):
        below_x, below_y = place(hour, 0)
        drawing.text(below_x, below_y + 18, str(hour), style="small", anchor="middle")
    drawing.text(_WIDTH / 2, _TOP + _PLOT + 40, "hour", style="small", anchor="middle")
    for index, each in enumerate(series):
        for points in _runs(each.values):
            drawing.curve(
                [place(hour + 0.5, value) for hour, value in points],
                colour=_colour(index),
                hint=each.name,
            )
    drawing.write(path)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    """Return the stretches in which there is a value; a lone one is as long as its hour."""
    runs: list[list[tuple[int, float]]] = [[]]
    for hour, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((hour, value))
    return [run * 2 if len(run) == 1 else run for run in runs if run]


def _step(most: float) -> float:
    """Return how far apart the lines of a grid are: 1, 2 or 5 times a power of ten."""
    rough = most / 5
    power = 10.0 ** math.floor(math.log10(rough))
    return next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]
