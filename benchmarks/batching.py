"""What sharing forward passes brings, on this machine's processor, with the tiny model.

    python -m benchmarks.batching [--tasks 64] [--repeats 5]

Engine: the same tasks, each with words and a seed of its own, drawn in passes of 1, 2, 4 and 8 by
one engine process on one thread, one kind after the other and all of that several times over; in
seconds of processor time, which on one thread is what the clock shows while nothing else runs.
Queue: the same tasks waiting in an emulated queue, drawn by a real agent that may share passes and
by one that may not, from the first task begun to the last result. Each picture is compared with
that of its task alone.

A processor is no GPU: the ratio on one is not measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measuring import IMAGES, RESULTS, ROOT, conditions, positive, spread
from cdk_stable_diffusion.planning.drawing import Drawing as Svg
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from cdk_stable_diffusion.runtime_image.agent.engine import Generation, ModelDirectory, Raster
from tests.agent.emulated import emulated_aws
from tests.agent.scene import Aws, Scene

SIZES = (1, 2, 4, 8)
MODEL = ROOT / "src" / "cdk_stable_diffusion" / "local" / "models" / "tiny-shapes"
_COLOURS = ("red", "green", "blue", "yellow")
_SHAPES = ("circle", "square", "triangle")
_TIMEOUT_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """What drawing all tasks took of a processor, and gave."""

    seconds: float
    pictures: tuple[Raster, ...]


def main() -> None:
    """Measure, show, save, draw."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=positive, default=64)
    parser.add_argument("--repeats", type=positive, default=5)
    arguments = parser.parse_args()
    # Threads that wait for each other measure what else the machine does.
    os.environ["SD_ENGINE_THREADS"] = "1"
    tasks = _tasks(arguments.tasks)
    report = {
        **conditions(),
        "model": MODEL.name,
        "tasks": arguments.tasks,
        "repeats": arguments.repeats,
        "engine": _measure_engine(tasks, arguments.repeats),
        "queue": _measure_queue(tasks, arguments.repeats),
    }
    for part in ("engine", "queue"):
        for row in report[part]:
            print(f"{part:>6}", json.dumps(row))
    (RESULTS / "batching.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    draw(report, IMAGES / "batching.svg")


def _tasks(count: int) -> list[Generation]:
    return [
        Generation(
            prompt=f"a large {_COLOURS[number % 4]} {_SHAPES[number % 3]} on a white background",
            negative_prompt="" if number % 2 else "black",
            seeds=(number,),
            steps=8,
            guidance_scale=3.0,
            width=64,
            height=64,
        )
        for number in range(count)
    ]


def _measure_engine(tasks: Sequence[Generation], repeats: int) -> list[dict[str, Any]]:
    engine = ChildEngine()
    engine.start()
    try:
        assert engine.wait_until_ready(_TIMEOUT_SECONDS)
        model = ModelDirectory(name=MODEL.name, digest="0", path=MODEL)
        engine.load(model, timeout=_TIMEOUT_SECONDS)
        for size in SIZES:
            _draw(engine, tasks[: 2 * size], size)
        drawn: dict[int, list[Drawn]] = {size: [] for size in SIZES}
        for _ in range(repeats):
            for size in SIZES:
                drawn[size].append(_draw(engine, tasks, size))
    finally:
        engine.close()
    alone = drawn[1][0].pictures
    rows = [
        {
            "tasks_of_a_pass": size,
            "tasks_per_second": _rates(len(tasks), [run.seconds for run in drawn[size]]),
            "largest_difference": max(
                _difference(one, other)
                for run in drawn[size]
                for one, other in zip(run.pictures, alone, strict=True)
            ),
        }
        for size in SIZES
    ]
    return _with_ratios(rows)


def _draw(engine: ChildEngine, tasks: Sequence[Generation], size: int) -> Drawn:
    pictures: list[Raster] = []
    began = _cpu_seconds(engine)
    for start in range(0, len(tasks), size):
        some = tasks[start : start + size]
        drawings = (
            engine.generate_together(some, timeout=_TIMEOUT_SECONDS)
            if size > 1
            else [engine.generate(some[0], timeout=_TIMEOUT_SECONDS)]
        )
        pictures += [picture for drawing in drawings for picture in drawing.rasters]
    return Drawn(seconds=_cpu_seconds(engine) - began, pictures=tuple(pictures))


def _cpu_seconds(engine: ChildEngine) -> float:
    fields = Path(f"/proc/{engine.process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _difference(one: Raster, other: Raster) -> int:
    return max(abs(a - b) for a, b in zip(one.pixels, other.pixels, strict=True))


def _measure_queue(tasks: Sequence[Generation], repeats: int) -> list[dict[str, Any]]:
    runs: dict[int, list[tuple[float, int]]] = {1: [], SIZES[-1]: []}
    with emulated_aws() as aws:
        os.environ.update(aws.environment)
        for _ in range(repeats):
            for size, measured in runs.items():
                measured.append(_run_agent(aws, tasks, size))
    rows = [
        {
            "tasks_of_a_pass": size,
            "tasks_per_second": _rates(len(tasks), [seconds for seconds, _ in measured]),
            "passes": median(passes for _, passes in measured),
        }
        for size, measured in runs.items()
    ]
    return _with_ratios(rows)


def _run_agent(aws: Aws, tasks: Sequence[Generation], size: int) -> tuple[float, int]:
    """Return the seconds from the first task begun to the last that succeeded, and the passes."""
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(aws, Path(name))
        scene.publish_directory("shapes", MODEL)
        for task in tasks:
            scene.send(prompt=task.prompt, negative_prompt=task.negative_prompt, seed=task.seeds[0])
        log = Path(name) / "log"
        with log.open("wb") as file:
            agent = subprocess.Popen(
                [sys.executable, "-m", "cdk_stable_diffusion.runtime_image.agent"],
                env={
                    **os.environ,
                    **scene.with_settings(batch_tasks=size).to_environment(),
                    "PYTHONPATH": str(ROOT / "src"),
                },
                stderr=file,
            )
        try:
            results = scene.wait_for_results(len(tasks), seconds=_TIMEOUT_SECONDS)
        finally:
            agent.send_signal(signal.SIGTERM)
            agent.wait()
        assert all(result.status == "succeeded" for result in results)
        return _read_log(log.read_text())


def _read_log(text: str) -> tuple[float, int]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    begun = [line for line in lines if line.get("message") == "started"]
    ended = [line for line in lines if line.get("message") == "succeeded"]
    seconds = (_moment(ended[-1]) - _moment(begun[0])).total_seconds()
    # Those of one pass are begun one right after the other, and each says how many they are.
    passes = sum(1 / int(line.get("together", 1)) for line in begun)
    return seconds, round(passes)


def _moment(line: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(re.sub("Z$", "+00:00", line["time"]))


def _rates(tasks: int, seconds: Sequence[float]) -> dict[str, float]:
    return spread([tasks / each for each in seconds])


def _with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    base = rows[0]["tasks_per_second"]["median"]
    return [{**row, "ratio": round(row["tasks_per_second"]["median"] / base, 2)} for row in rows]


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw the medians as bars, with a line from the least to the most.

    Args:
        report: As it is written.
        path: File for the plot.
    """
    bars = [
        (f"{'engine' if part == 'engine' else 'from the queue'}, {_named(row)}", colour, row)
        for part, colour in (("engine", "#2563eb"), ("queue", "#0d9488"))
        for row in report[part]
    ]
    left, right, step = 300, 150, 34
    width, height = 960, 120 + step * len(bars)
    scale = (width - left - right) / max(row["tasks_per_second"]["most"] for *_, row in bars)
    drawing = Svg(
        width,
        height,
        title="Tasks a second with shared forward passes",
        description="; ".join(
            f"{name}: {row['tasks_per_second']['median']:.1f} tasks a second"
            for name, _, row in bars
        ),
    )
    drawing.text(20, 30, "Tasks a second with shared forward passes", style="title")
    drawing.text(
        20,
        52,
        f"Tiny model on one thread of a processor, no GPU; medians of {report['repeats']} "
        f"runs of {report['tasks']} tasks, {report['date']}; thin lines: least to most",
    )
    drawing.text(
        20,
        height - 14,
        "engine: by processor time; from the queue: by the clock, all of the agent's work included",
    )
    for index, (name, colour, row) in enumerate(bars):
        top, rate = 76 + index * step, row["tasks_per_second"]
        drawing.text(left - 12, top + 16, name, style="head", anchor="end")
        drawing.rectangle(left, top, rate["median"] * scale, 22, fill=colour)
        drawing.line(
            left + rate["least"] * scale,
            top + 11,
            left + rate["most"] * scale,
            top + 11,
            style="edge",
        )
        drawing.text(
            left + rate["most"] * scale + 8,
            top + 16,
            f"{rate['median']:.1f}, {row['ratio']:.2f} times as many",
        )
    drawing.write(path)


def _named(row: Mapping[str, Any]) -> str:
    size = row["tasks_of_a_pass"]
    return (
        "each alone"
        if size == 1
        else f"up to {size} a pass"
        if "passes" in row
        else f"{size} a pass"
    )


if __name__ == "__main__":
    main()
