"""What lanes are worth, simulated: ``python -m benchmarks.routing_simulated``.

Eight replicas, fifty models with a share in proportion to 1 / rank ** 0.9, two seconds a task, ten
to load a model from S3 and one and a half from the host's memory. Every row has the same tasks; the
names of the models, and so their lanes, differ from seed to seed.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.measuring import IMAGES, RESULTS, ROOT, conditions, positive
from benchmarks.routing_page import with_figures
from benchmarks.routing_plot import draw
from cdk_stable_diffusion.contract.lanes import MOST_LANES
from cdk_stable_diffusion.planning import (
    Autoscaling,
    CacheSizes,
    Demand,
    Lanes,
    Loading,
    Models,
    Nodes,
    Outcome,
    Setup,
    SharedQueue,
    Workload,
    saturated,
    simulate,
)
from cdk_stable_diffusion.planning.cache import RAM, S3
from cdk_stable_diffusion.planning.cli import main as plan_main

FILE = RESULTS / "routing_simulated.json"
PLOT = IMAGES / "routing-simulated.svg"
PAGE = ROOT / "docs" / "planning.md"
EXAMPLE = ROOT / "examples" / "planning" / "workload.toml"
PLAN = RESULTS / "plan"

_TASKS = 8_000
_WAITING = 10
"""Tasks that wait for each replica at any time, where the queue never runs dry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A number of replicas, and models.

    Attributes:
        replicas: How many replicas.
        models: How many models.
        zipf: How uneven their shares are.
        kept: How many of them each replica keeps in its host's memory.
        on_disk: How many it keeps on its disk.
        seconds: How long a task takes.
        s3_seconds: How long a model takes from S3.
        ram_seconds: How long it takes from the host's memory.
        hot: Share of the first model, if it is not what `zipf` says.
    """

    replicas: int = 8
    models: int = 50
    zipf: float = 0.9
    kept: int = 8
    on_disk: int = 0
    seconds: float = 2.0
    s3_seconds: float = 10.0
    ram_seconds: float = 1.5
    hot: float | None = None

    def workload(self, seed: int, *, rate: float = 1.0, hours: int = 1) -> Workload:
        """Return the workload.

        Args:
            seed: Where chance begins; also in the names of the models.
            rate: Tasks a second.
            hours: How long.
        """
        shares = [rank**-self.zipf for rank in range(1, self.models + 1)]
        if self.hot is not None:
            rest = (1 - self.hot) / sum(shares[1:])
            shares = [self.hot, *(share * rest for share in shares[1:])]
        return Workload(
            demand=Demand(
                tasks_per_minute=(60 * rate,), hours=hours, seconds_per_picture=self.seconds
            ),
            models=Models.named(
                [f"model-{seed}-{each}" for each in range(self.models)], shares, [1.0] * len(shares)
            ),
            # From the disk as from S3: few models are kept there, or none.
            loading=Loading(
                s3_seconds=self.s3_seconds,
                disk_seconds=self.s3_seconds,
                ram_seconds=self.ram_seconds,
            ),
            nodes=Nodes(gpu_hour_dollars=1),
            seed=seed,
        )

    def setup(self, routing: SharedQueue | Lanes, *, ahead: float = 2.0) -> Setup:
        """Return the setup.

        Args:
            routing: How tasks come to replicas.
            ahead: How long before it is free a replica takes its next task.
        """
        return Setup(
            name=type(routing).__name__,
            routing=routing,
            cache=CacheSizes(ram_gibibytes=self.kept, disk_gibibytes=self.on_disk),
            autoscaling=Autoscaling.fixed(self.replicas),
            lookahead_seconds=ahead,
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Simulate, print tables, plan the example, and write figures, plots and the page's tables.

    Args:
        arguments: Of the command line. Default: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing_simulated", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--seeds", type=positive, default=10, metavar="N", help="seeds of each row; default: 10"
    )
    seeds = range(1, parser.parse_args(arguments).seeds + 1)
    parts: tuple[tuple[str, Callable[[Sequence[int]], Any]], ...] = (
        ("saturated", _headline),
        ("sensitivity", _sensitivity),
        ("grid", lambda _: _grid()),
        ("open", _open),
        ("agents", _agents),
    )
    report: dict[str, Any] = {**conditions(), "seeds": len(seeds), "tasks": _TASKS}
    for name, part in tqdm(parts, unit="part"):
        report[name] = part(seeds)
    report["ratios"] = _ratios(report["saturated"])
    FILE.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    draw(report, PLOT)
    _print(report)
    plan_main([str(EXAMPLE), "--output", str(PLAN)])
    plan = json.loads((PLAN / "plan.json").read_text("utf-8"))
    PAGE.write_text(with_figures(PAGE.read_text("utf-8"), report, plan), "utf-8")
    print(*(path.relative_to(ROOT) for path in (FILE, PLOT, PAGE)), sep="\n")


def _saturate(scene: Scene, routing: SharedQueue | Lanes, seed: int, ahead: float = 2.0) -> Outcome:
    workload = scene.workload(seed)
    tasks = saturated(workload, _TASKS, at_a_time=(_WAITING + 1) * scene.replicas)
    return simulate(workload, scene.setup(routing, ahead=ahead), tasks)


def _row(name: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    rates = [each.tasks_per_second for each in outcomes]
    return {
        "name": name,
        "tasks_per_second": round(statistics.mean(rates), 3),
        "deviation": round(statistics.pstdev(rates), 3),
        "from_s3_per_1000": round(statistics.mean(_loads(each, S3) for each in outcomes), 1),
        "from_ram_per_1000": round(statistics.mean(_loads(each, RAM) for each in outcomes), 1),
        "stolen_per_1000": round(
            statistics.mean(1_000 * each.stolen / len(each.done) for each in outcomes), 1
        ),
    }


def _mean(values: Iterable[float]) -> float:
    return round(statistics.mean(values), 2)


def _loads(outcome: Outcome, tier: int) -> float:
    return 1_000 * outcome.loads[tier] / len(outcome.done)


def _headline(seeds: Sequence[int]) -> list[dict[str, Any]]:
    routings: dict[str, SharedQueue | Lanes] = {
        "shared queue": SharedQueue(),
        "32 lanes": Lanes(count=32),
        "64 lanes": Lanes(count=64),
    }
    rows = []
    for kept in (0, 4, 8):
        for name, routing in routings.items():
            outcomes = [_saturate(Scene(kept=kept), routing, seed) for seed in seeds]
            rows.append({"kept": kept, **_row(name, outcomes)})
    return rows


def _ratios(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what 64 lanes do beside the shared queue.

    With 8 models in each memory beside a queue without a cache, and with 4 models in both.
    """

    def find(name: str, kept: int) -> Mapping[str, Any]:
        return next(row for row in rows if (row["name"], row["kept"]) == (name, kept))

    bare, cached = find("shared queue", 0), find("shared queue", 4)
    best, like = find("64 lanes", 8), find("64 lanes", 4)
    return {
        "with_8_models": round(best["tasks_per_second"] / bare["tasks_per_second"], 2),
        "with_4_models": round(like["tasks_per_second"] / cached["tasks_per_second"], 2),
        "fewer_downloads": round(cached["from_s3_per_1000"] / like["from_s3_per_1000"], 2),
    }


def _sensitivity(seeds: Sequence[int]) -> list[dict[str, Any]]:
    scene, base = Scene(), {"count": 32}
    variants: Iterator[tuple[str, dict[str, Any]]] = (
        (f"{name} {value:g}", {**base, name: value})
        for name, values in (
            ("count", (8, 16, 32, 64, 128)),
            ("oldest_every_seconds", (10, 30, 60, 120)),
            ("steal_after_seconds", (0, 0.5, 2, 4, 10)),
        )
        for value in values
    )
    rows = [
        _row(name, [_saturate(scene, Lanes(**values), seed) for seed in seeds])
        for name, values in variants
    ]
    never = Lanes(count=32, steal_after_seconds=1e9)
    rows.append(_row("never stolen", [_saturate(scene, never, seed) for seed in seeds]))
    nothing = [_saturate(scene, Lanes(count=32), seed, ahead=0) for seed in seeds]
    return [*rows, _row("nothing taken ahead", nothing)]


def _grid() -> dict[str, Any]:
    """Return how much faster lanes are than a shared queue, for other sizes."""
    cells = []
    for replicas, models, zipf in product((4, 8, 32), (10, 50, 500), (0.6, 0.9, 1.2)):
        scene = Scene(replicas=replicas, models=models, zipf=zipf, kept=4)
        shared, lanes = (
            _saturate(scene, routing, 1).tasks_per_second
            for routing in (SharedQueue(), Lanes(count=min(8 * replicas, MOST_LANES)))
        )
        cells.append(
            {
                "replicas": replicas,
                "models": models,
                "zipf": zipf,
                "throughput": round(lanes / shared, 2),
            }
        )
    ratios = [cell["throughput"] for cell in cells]
    return {
        "median": round(statistics.median(ratios), 2),
        "least": min(ratios),
        "most": max(ratios),
        "cells": cells,
    }


def _open(seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return how long tasks wait where they come at a rate, rather than all the time."""

    def most(scene: Scene, routing: SharedQueue | Lanes) -> float:
        return statistics.mean(_saturate(scene, routing, seed).tasks_per_second for seed in seeds)

    lanes, hot = Lanes(count=32), Scene(hot=0.6, models=20)
    shared_rate, lanes_rate = most(Scene(), SharedQueue()), most(Scene(), lanes)
    hot_rate = most(hot, SharedQueue())
    rows = []
    for name, scene, rate in (
        ("30 % of what the shared queue can do", Scene(), 0.3 * shared_rate),
        ("80 % of what the shared queue can do", Scene(), 0.8 * shared_rate),
        ("80 % of what lanes can do", Scene(), 0.8 * lanes_rate),
        ("one model has 60 %; 80 % of what the shared queue can do", hot, 0.8 * hot_rate),
    ):
        for routing in (SharedQueue(), lanes):
            if rate > shared_rate and isinstance(routing, SharedQueue) and scene.hot is None:
                continue  # It never keeps up.
            outcomes = [
                simulate(scene.workload(seed, rate=rate, hours=3), scene.setup(routing))
                for seed in seeds
            ]
            rows.append(
                {
                    "load": name,
                    "routing": "shared queue" if isinstance(routing, SharedQueue) else "32 lanes",
                    "tasks_per_second": round(rate, 3),
                    **{
                        f"latency_p{percent}": _mean(
                            each.latency_percentile(percent) for each in outcomes
                        )
                        for percent in (50, 95, 99)
                    },
                    "longest_wait_of_a_rare_model": _mean(_rare(each) for each in outcomes),
                }
            )
    return rows


def _rare(outcome: Outcome) -> float:
    """Return the longest wait for one of the rarer half of the models."""
    rare = outcome.models >= len(outcome.workload.models.names) // 2
    return float(outcome.waiting[rare].max())


def _agents(seeds: Sequence[int]) -> list[dict[str, Any]]:
    """Return what four agents with ten models and 120 tasks at once should come to."""
    scene = Scene(replicas=4, models=10, kept=0, seconds=0.2, s3_seconds=2.0, ram_seconds=0.0)
    rows = []
    routings: dict[str, SharedQueue | Lanes] = {
        "shared queue": SharedQueue(),
        "16 lanes": Lanes(count=16),
        "32 lanes": Lanes(count=32),
    }
    for name, routing in routings.items():
        outcomes = []
        for seed in seeds:
            workload = scene.workload(seed)
            tasks = saturated(workload, 120, at_a_time=120)
            outcomes.append(simulate(workload, scene.setup(routing), tasks))
        rows.append(
            {
                "routing": name,
                "seconds": round(statistics.mean(each.end for each in outcomes), 1),
                "loads_per_1000": round(statistics.mean(each.loads_per_1000 for each in outcomes)),
            }
        )
    return rows


def _print(report: Mapping[str, Any]) -> None:
    console = Console()
    for part in ("saturated", "sensitivity", "open", "agents"):
        table = Table(*report[part][0], title=part)
        for row in report[part]:
            table.add_row(*map(str, row.values()))
        console.print(table)
    grid = {key: value for key, value in report["grid"].items() if key != "cells"}
    console.print("grid, throughput to the shared queue:", grid)
    console.print(report["ratios"])


if __name__ == "__main__":
    main()
