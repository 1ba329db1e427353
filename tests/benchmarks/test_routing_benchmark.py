"""The stand-in that keeps models, and the page on lanes, which shows the figures as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import routing, routing_report
from benchmarks.routing_engine import Held

REPORT = json.loads(routing.FILE.read_text("utf-8"))


class Told:
    """Hears what is held."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}

    def write(self, header: dict[str, Any]) -> None:
        """Take note."""
        self.held = header["held"]


def test_the_stand_in_keeps_the_last_used() -> None:
    told = Told()
    held = Held(told, disk_seconds=0, memory_seconds=0, in_memory=2)
    assert [held.load(each) for each in "abcdb"] == ["disk", "disk", "disk", "disk", "memory"]
    assert told.held == {"c": "memory", "d": "memory", "b": "gpu"}
    assert held.load("b") == "gpu"
    assert held.load("a") == "disk"


def test_the_stand_in_without_memory_keeps_one() -> None:
    told = Told()
    held = Held(told, disk_seconds=0, memory_seconds=0, in_memory=0)
    assert [held.load(each) for each in "aba"] == ["disk"] * 3
    assert told.held == {"a": "gpu"}


def test_the_simulation_is_off_by_less_than_15_percent_of_what_agents_do() -> None:
    off = routing_report.simulation_off(REPORT)
    assert "4 agents, 10 models, no cache, lanes" in off
    assert {name: share for name, share in off.items() if share >= 0.15} == {}


def test_the_page_shows_the_figures_as_they_are() -> None:
    page = routing.PAGE.read_text("utf-8")
    assert routing_report.with_measured(page, REPORT) == page
    assert f"{REPORT['small'][0]['tasks_per_second']:.2f}" in page


def test_the_plot_shows_the_figures_as_they_are(tmp_path: Path) -> None:
    routing_report.draw(REPORT, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text("utf-8") == routing.PLOT.read_text("utf-8")
