"""The search finds the cheapest setup that reaches the target; table and plots show it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cdk_stable_diffusion.planning import (
    Autoscaling,
    CacheSizes,
    Grid,
    Lanes,
    Models,
    Setup,
    Target,
    draw,
    propose,
    simulate,
)
from cdk_stable_diffusion.planning.cli import main
from tests.planning.scene import SLOW, workload
from tests.planning.test_plan_file import SMALL

GIVEN = workload(0.5, hours=2, models=Models.zipf(8, gibibytes=1), loading=SLOW, seconds=2)
SETUP = Setup(
    name="lanes",
    routing=Lanes(),
    cache=CacheSizes(ram_gibibytes=2),
    autoscaling=Autoscaling.for_target(60, 2, max_replicas=4),
)


@pytest.mark.slow
def test_it_is_the_cheapest_of_those_that_reach_the_target() -> None:
    target = Target(seconds=45)
    grid = Grid(min_replicas=(0, 1, 2), max_replicas=(2, 4), target_latency_seconds=(10, 30))
    seen: list[tuple[int, int]] = []
    found = propose(GIVEN, SETUP, target, grid, on_try=lambda *counts: seen.append(counts))
    assert found.reaches
    assert found.outcome.latency_percentile(95) <= 45
    another_day = simulate(replace(GIVEN, seed=2), found.outcome.setup)
    assert found.again_seconds == another_day.latency_percentile(95)
    tasks = draw(GIVEN)
    outcomes = [simulate(GIVEN, each, tasks) for each in grid.setups(GIVEN, SETUP, target)]
    assert found.tried == len(outcomes) == 3 * 2 * 2 * 2
    assert seen[-1] == (24, 24)
    cheapest = min(each.dollars for each in outcomes if each.latency_percentile(95) <= 45)
    assert found.outcome.dollars <= 1.01 * cheapest
    assert any(each.latency_percentile(95) > 45 for each in outcomes)


def test_it_comes_as_near_as_it_can_where_nothing_reaches_the_target() -> None:
    found = propose(GIVEN, SETUP, Target(seconds=2.5), Grid(max_replicas=(1, 2)))
    assert not found.reaches
    assert found.outcome.setup.autoscaling.max_replicas == 2


def test_of_equal_ones_the_smallest_is_proposed() -> None:
    grid = Grid(
        min_replicas=(2,), max_replicas=(2,), ram_gibibytes=(64, 8), lanes_per_replica=(9, 3)
    )
    found = propose(GIVEN, SETUP, Target(seconds=3_600), grid)
    assert found.outcome.setup.cache.ram_gibibytes == 8
    assert found.outcome.setup.routing == Lanes(count=6)


def test_lanes_are_never_more_than_a_topic_takes() -> None:
    grid = Grid(max_replicas=(100,), lanes_per_replica=(4,))
    for each in grid.setups(GIVEN, SETUP, Target(seconds=60)):
        assert each.routing == Lanes(count=150)


def test_fewer_replicas_at_least_than_at_most() -> None:
    grid = Grid(min_replicas=(0, 3), max_replicas=(2,))
    setups = list(grid.setups(GIVEN, SETUP, Target(seconds=60)))
    assert {each.autoscaling.min_replicas for each in setups} == {0}


def test_the_command_compares_proposes_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "workload.toml"
    file.write_text(
        SMALL + "[target]\nseconds = 90\n[search]\nmax_replicas = [2]\nmin_replicas = [0]\n"
        "lanes_per_replica = [2]\n"
    )
    assert main([str(file), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "3 models" in said
    for name in ("upstream defaults", "shared queue", "lanes", "proposed"):
        assert name in said
    assert "target_latency=Duration.seconds(" in said
    assert "max_replicas=2," in said
    report = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert [each["setup"]["name"] for each in report["outcomes"]] == [
        "upstream defaults",
        "shared queue",
        "lanes",
        "proposed",
    ]
    assert report["outcomes"][0]["setup"]["max_replicas"] == 20
    for plot in ("waiting", "gpus", "comparison"):
        root = ElementTree.parse(tmp_path / "out" / f"{plot}.svg").getroot()
        assert "proposed" in "".join(root.itertext())


def test_the_command_only_compares_without_a_target(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "workload.toml"
    file.write_text(SMALL)
    assert main([str(file)]) == 0
    assert "proposed" not in capsys.readouterr().out
    assert [each.name for each in tmp_path.iterdir()] == ["workload.toml"]


def test_the_command_says_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "workload.toml"
    file.write_text("[nodes]\n")
    assert main([str(file)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("sd-plan: ")
    assert "nodes.gpu_hour_dollars is missing" in said
    assert main([str(tmp_path / "nothing.toml")]) == 1


def test_the_command_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = sys.modules["cdk_stable_diffusion.planning.cli"]
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert main(["workload.toml"]) == 1
    assert "pip install 'cdk-stable-diffusion[planning]'" in capsys.readouterr().err


def test_a_hundred_thousand_tasks_take_less_than_ten_seconds() -> None:
    """Measured with a fifth of them, by this process's own time."""
    import time

    given = workload(20_000 / 86_400, hours=24, models=Models.zipf(50), loading=SLOW, seconds=2)
    drawn = draw(given)
    started = time.process_time()
    simulate(given, SETUP, drawn)
    assert time.process_time() - started < 2
