"""What lanes are worth beside a shared queue, with real agents: ``python -m benchmarks.routing``.

The agents are real processes, AWS is an emulated one behind a proxy that adds the round trips of a
region, and GPUs and loads are sleeps: 0.2 seconds a task, two to load a model from the disk, 0.3
from memory. Both routings get the same tasks, and the simulation of `cdk_stable_diffusion.planning`
gets them, too: names of models and replicas decide homes, so that all three speak of the same.

``--only`` makes a part of it anew; the figures of the others stay as they are.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.measuring import IMAGES, RESULTS, ROOT, conditions
from benchmarks.proxy import REGION_DELAYS, Proxy
from benchmarks.routing_fleet import Fleet, Machine, Outcome
from benchmarks.routing_membership import idle, membership
from benchmarks.routing_report import draw, with_measured
from benchmarks.routing_simulated import Scene as Simulated
from cdk_stable_diffusion.contract.lanes import default_lanes
from cdk_stable_diffusion.planning import Lanes, SharedQueue, Tasks, saturated, simulate
from cdk_stable_diffusion.planning import Outcome as SimulatedOutcome
from cdk_stable_diffusion.planning.tasks import draw as draw_tasks
from tests.agent.emulated import emulated_aws
from tests.agent.scene import Aws

FILE = RESULTS / "routing.json"
PLOT = IMAGES / "routing.svg"
PAGE = ROOT / "docs" / "architecture" / "lanes.md"

SHARED, LANES = "shared queue", "lanes"
_BACKLOG = 11
"""Tasks of each replica, waiting or running, where the queue never runs dry."""

_AHEAD_SECONDS = 2.0
"""How long before it is free an agent takes its next task."""

_LEAST_ON_DISK = 4
_SEEDS = 3
_FILLING = 0.1
"""Share of the tasks in which the caches fill."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Agents and models.

    Attributes:
        agents: How many agents.
        models: How many models.
        tasks: How many tasks, where the queue never runs dry.
        cached: How many models each keeps in memory, and as many on its disk.
        hot: Share of the first model; by default, shares are in proportion to 1 / rank ** 0.9.
        at_once: Whether all tasks come at once, rather than one whenever one is done.
    """

    agents: int
    models: int
    tasks: int
    cached: int = 0
    hot: float | None = None
    at_once: bool = False

    def scaled(self, scale: float) -> Case:
        """Return the case with so many of the tasks."""
        return replace(self, tasks=round(self.tasks * scale))

    @property
    def machine(self) -> Machine:
        """What each replica has."""
        # The model in use, and those that are fetched meanwhile, need a disk in any case.
        return Machine(in_memory=self.cached, on_disk=max(_LEAST_ON_DISK, self.cached))

    @property
    def simulated(self) -> Simulated:
        """The same for the simulation."""
        machine = self.machine
        return Simulated(
            replicas=self.agents,
            models=self.models,
            kept=self.cached,
            on_disk=machine.on_disk,
            seconds=machine.picture_seconds,
            s3_seconds=machine.disk_seconds,
            ram_seconds=machine.memory_seconds,
            hot=self.hot,
        )

    def routing(self, name: str) -> SharedQueue | Lanes:
        """Return how tasks come to replicas.

        Args:
            name: "shared queue" or "lanes".
        """
        return SharedQueue() if name == SHARED else Lanes(count=default_lanes(self.agents))

    @property
    def at_a_time(self) -> int:
        """How many tasks are waiting or running, where the queue never runs dry."""
        return self.tasks if self.at_once else _BACKLOG * self.agents


SMALL = Case(agents=4, models=10, tasks=120, at_once=True)
LARGE = Case(agents=8, models=50, tasks=800)
CACHED = replace(LARGE, cached=8)
HOT = Case(agents=8, models=20, tasks=600, cached=8, hot=0.6)


class Bench:
    """Runs cases, with real agents and simulated."""

    def __init__(self, aws: Aws, proxy: Proxy) -> None:
        """Prepare.

        Args:
            aws: The emulated AWS.
            proxy: The way to it.
        """
        self._aws = aws
        self._proxy = proxy

    @contextmanager
    def fleet(
        self, case: Case, routing: str, seed: int, *, agents: int | None = None
    ) -> Iterator[Fleet]:
        """Start agents, and end them after the block.

        Args:
            case: How many there may be, and of what.
            routing: "shared queue" or "lanes".
            seed: Where chance begins; also in the names of models and replicas.
            agents: How many there are. Default: all.
        """
        workload = case.simulated.workload(seed)
        with tempfile.TemporaryDirectory() as directory:
            fleet = Fleet(
                aws=self._aws,
                proxy=self._proxy,
                directory=Path(directory),
                machine=case.machine,
                lanes=1 if routing == SHARED else default_lanes(case.agents),
                prefix=f"pod-{seed}",
                models=workload.models.names,
            )
            try:
                fleet.start(agents or case.agents)
                fleet.wait_until_known()
                yield fleet
            finally:
                fleet.end()

    def saturate(self, case: Case, routing: str, seed: int) -> dict[str, Any]:
        """Return what so many agents can do at most.

        Args:
            case: How many, and of what.
            routing: "shared queue" or "lanes".
            seed: Where chance begins.
        """
        scene = case.simulated
        tasks = saturated(scene.workload(seed), case.tasks, at_a_time=case.at_a_time)
        with self.fleet(case, routing, seed) as fleet:
            real = fleet.do(tasks.models.tolist(), at_a_time=case.at_a_time)
        scene = replace(scene, s3_seconds=real.load_seconds(scene.s3_seconds))
        simulated = simulate(
            scene.workload(seed), scene.setup(case.routing(routing), ahead=2), tasks
        )
        # Where all come at once, there is nothing but the beginning and the end.
        filling = 0.0 if case.at_once else _FILLING
        return {
            "routing": routing,
            **_figures(real, real.since(filling)),
            "simulated": _simulated(
                simulated, case.tasks / simulated.end if case.at_once else None
            ),
        }

    def at_a_rate(
        self, case: Case, routing: str, seed: int, *, rate: float, tasks: int, warm_up: int
    ) -> dict[str, Any]:
        """Return how long tasks wait that come by chance.

        Args:
            case: How many agents, and of what.
            routing: "shared queue" or "lanes".
            seed: Where chance begins.
            rate: Tasks a second.
            tasks: How many tasks.
            warm_up: How many of them come first and do not count.
        """
        scene = case.simulated
        workload = scene.workload(seed, rate=rate)
        all_ = draw_tasks(workload)
        its = Tasks(
            arrivals=all_.arrivals[:tasks], models=all_.models[:tasks], seconds=all_.seconds[:tasks]
        )
        with self.fleet(case, routing, seed) as fleet:
            real = fleet.do_at(its.arrivals.tolist(), its.models.tolist())
        scene = replace(scene, s3_seconds=real.load_seconds(scene.s3_seconds))
        workload = scene.workload(seed, rate=rate)
        setup = scene.setup(case.routing(routing), ahead=_AHEAD_SECONDS)
        simulated = simulate(workload, setup, its)
        later = real.since(warm_up / tasks)
        rare = [each.waiting for each in later.tasks if each.model >= case.models // 2]
        return {
            "routing": routing,
            "rate": round(rate, 3),
            **_figures(real, later),
            **{
                f"latency_p{percent}": round(later.latency_percentile(percent), 3)
                for percent in (50, 95, 99)
            },
            "longest_wait_of_a_rare_model": round(max(rare), 3),
            "simulated": _simulated(simulated, warm_up=warm_up),
        }


def _figures(outcome: Outcome, filled: Outcome) -> dict[str, Any]:
    """Return what was measured.

    Args:
        outcome: What came of all tasks.
        filled: What came of those for which the caches had filled.
    """
    return {
        "tasks": len(outcome.tasks),
        "tasks_per_second": round(filled.tasks_per_second, 3),
        "loads_per_1000": round(outcome.loads_per_1000, 1),
        "downloads_per_1000": round(outcome.downloads_per_1000, 1),
        "downloads_per_1000_once_filled": round(filled.downloads_per_1000, 1),
        "loads": dict(Counter(tier for _, tier in outcome.loads)),
        "stolen_per_1000": round(1_000 * outcome.steals / len(outcome.tasks), 1),
        "busy_percent": round(outcome.busy_percent, 1),
        "cpu_ms_per_task": round(outcome.cpu_ms_per_task, 1),
        "sqs_calls_per_task": round(
            sum(count for name, count in outcome.calls.items() if name.startswith("sqs."))
            / len(outcome.tasks),
            1,
        ),
    }


def _simulated(
    outcome: SimulatedOutcome, rate: float | None = None, warm_up: int = 0
) -> dict[str, Any]:
    latency = outcome.latency[warm_up:]
    return {
        "tasks_per_second": round(rate or outcome.tasks_per_second, 3),
        "loads_per_1000": round(outcome.loads_per_1000, 1),
        "downloads_per_1000": round(outcome.downloads_per_1000, 1),
        **{
            f"latency_p{percent}": round(float(np.percentile(latency, percent)), 3)
            for percent in (50, 95, 99)
        },
    }


# The parts, each with what it is called in the report.


def _small(bench: Bench, _: Mapping[str, Any], scale: float) -> list[dict[str, Any]]:
    """Four agents, ten models, 120 tasks at once, no cache."""
    return [
        {"seed": seed, **bench.saturate(SMALL, routing, seed)}
        for seed in range(1, 1 + max(1, round(_SEEDS * scale)))
        for routing in (SHARED, LANES)
    ]


def _large(bench: Bench, _: Mapping[str, Any], scale: float) -> list[dict[str, Any]]:
    """Eight agents, fifty models, with and without a cache."""
    return [
        {"cached": case.cached, **bench.saturate(case.scaled(scale), routing, 1)}
        for case in (LARGE, CACHED)
        for routing in (SHARED, LANES)
    ]


def _light(bench: Bench, report: Mapping[str, Any], scale: float) -> list[dict[str, Any]]:
    """30 % of what the shared queue can do, without a cache."""
    rate = statistics.mean(
        row["tasks_per_second"] for row in report["small"] if row["routing"] == SHARED
    )
    return _at_a_third(bench, SMALL, rate, tasks=round(300 * scale), warm_up=round(10 * scale))


def _light_cached(bench: Bench, report: Mapping[str, Any], scale: float) -> list[dict[str, Any]]:
    """The same with a cache, once that is full."""
    rate = _rate(report["large"], SHARED, CACHED.cached)
    return _at_a_third(bench, CACHED, rate, tasks=round(600 * scale), warm_up=round(300 * scale))


def _at_a_third(
    bench: Bench, case: Case, most: float, *, tasks: int, warm_up: int
) -> list[dict[str, Any]]:
    return [
        {
            "load": "30 % of what the shared queue can do",
            **bench.at_a_rate(case, routing, 1, rate=0.3 * most, tasks=tasks, warm_up=warm_up),
        }
        for routing in (SHARED, LANES)
    ]


def _hot(bench: Bench, _: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """One model has 60 % of the tasks."""
    most = [bench.saturate(HOT.scaled(scale), routing, 1) for routing in (SHARED, LANES)]
    rate = 0.8 * most[0]["tasks_per_second"]
    return {
        "most": most,
        "load": "80 % of what the shared queue can do",
        "at_a_rate": [
            bench.at_a_rate(
                HOT, routing, 1, rate=rate, tasks=round(800 * scale), warm_up=round(200 * scale)
            )
            for routing in (SHARED, LANES)
        ],
    }


def _rare(bench: Bench, report: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """80 % of what lanes can do: how long the rarer half of the models wait."""
    rate = 0.8 * _rate(report["large"], LANES, CACHED.cached)
    return {
        "load": "80 % of what lanes can do",
        **bench.at_a_rate(
            CACHED, LANES, 1, rate=rate, tasks=round(2_500 * scale), warm_up=round(300 * scale)
        ),
    }


def _membership(bench: Bench, _: Mapping[str, Any], scale: float) -> dict[str, Any]:
    """One of four replicas dies, and another joins."""
    del scale
    with bench.fleet(SMALL, LANES, 1) as fleet:
        return membership(fleet)


def _idle(bench: Bench, _: Mapping[str, Any], scale: float) -> list[dict[str, Any]]:
    """One agent of a runtime that may have eight, and eight of them."""
    del scale
    rows = []
    for agents in (1, LARGE.agents):
        with bench.fleet(LARGE, LANES, 1, agents=agents) as fleet:
            rows.append(idle(fleet))
    return rows


def _rate(rows: Sequence[Mapping[str, Any]], routing: str, cached: int) -> float:
    return next(
        float(row["tasks_per_second"])
        for row in rows
        if (row["routing"], row["cached"]) == (routing, cached)
    )


PARTS: dict[str, Callable[[Bench, Mapping[str, Any], float], Any]] = {
    "small": _small,
    "large": _large,
    "light": _light,
    "light_cached": _light_cached,
    "hot": _hot,
    "rare": _rare,
    "membership": _membership,
    "idle": _idle,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, simulate, print, and write figures, plot and the page's tables.

    Args:
        arguments: Of the command line. Default: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.routing", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=list(PARTS), help="parts; default: all"
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="how many of the tasks, to try something; then nothing is written but --output",
    )
    parser.add_argument("--output", type=Path, default=FILE)
    given = parser.parse_args(arguments)
    report = json.loads(given.output.read_text("utf-8")) if given.output.exists() else {}
    with emulated_aws() as aws, Proxy(aws.port, delays=REGION_DELAYS) as proxy:
        os.environ.update(aws.environment)
        bench = Bench(aws, proxy)
        for name in tqdm(given.only, unit="part"):
            began = conditions()
            report[name] = PARTS[name](bench, report, given.scale)
            report["conditions"] = {**report.get("conditions", {}), name: began}
            # What has been measured is not lost where a later part fails.
            given.output.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
            print(json.dumps({name: report[name]}, indent=1))
    if given.output == FILE:
        draw(report, PLOT)
        PAGE.write_text(with_measured(PAGE.read_text("utf-8"), report), "utf-8")


if __name__ == "__main__":
    main()
