"""The page on planning shows the figures as they are, and names every key of the file."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest

from benchmarks import routing_page, routing_plot, routing_simulated
from cdk_stable_diffusion.planning import (
    CacheSizes,
    Demand,
    Grid,
    Lanes,
    Loading,
    Nodes,
    ScalingPlan,
    Target,
    read_plan,
    simulate,
)
from cdk_stable_diffusion.planning.plan_file import Agent
from cdk_stable_diffusion.planning.report import figures

PAGE = routing_simulated.PAGE.read_text("utf-8")
REPORT = json.loads(routing_simulated.FILE.read_text("utf-8"))
PLAN = json.loads((routing_simulated.PLAN / "plan.json").read_text("utf-8"))


def test_the_page_shows_the_figures_as_they_are() -> None:
    assert routing_page.with_figures(PAGE, REPORT, PLAN) == PAGE
    assert REPORT["saturated"][0]["name"] in PAGE


def test_the_plot_shows_the_figures_as_they_are(tmp_path: Path) -> None:
    routing_plot.draw(REPORT, tmp_path / "plot.svg")
    assert (tmp_path / "plot.svg").read_text("utf-8") == routing_simulated.PLOT.read_text("utf-8")


def test_the_figures_of_the_example_are_those_of_the_code() -> None:
    plan = read_plan(routing_simulated.EXAMPLE)
    lanes = simulate(plan.workload, plan.setup)
    assert json.loads(json.dumps(figures(lanes))) == PLAN["outcomes"][2]


@pytest.mark.parametrize(
    "kind", [CacheSizes, Demand, Lanes, Loading, Nodes, ScalingPlan, Target, Grid, Agent]
)
def test_the_page_names_every_key(kind: type) -> None:
    for each in fields(kind):
        assert f"`{each.name}`" in PAGE, each.name
