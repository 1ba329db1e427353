"""How busy the agent keeps the GPU, beside a plain serial loop of the same calls.

    python -m benchmarks.agent_overlap [--tasks 100] [--repeats 1] [--seconds 0.2 0.5 1.5]

The GPU is a sleep. The agent is the real one, the AWS an emulated one behind a proxy that adds the
round trips of a region: 15 ms to each SQS and SNS call, 60 ms to each S3 PUT.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from benchmarks.proxy import REGION_DELAYS, Proxy
from benchmarks.stand_in_engine import picture
from cdk_stable_diffusion.contract import Parameters
from cdk_stable_diffusion.runtime_image.agent.engine import Drawing, Raster
from cdk_stable_diffusion.runtime_image.agent.pictures import encode
from tests.agent.emulated import emulated_aws
from tests.agent.scene import Aws, Scene

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "benchmarks" / "agent_overlap.json"
AGENT = ("benchmarks.agent_process", "benchmarks.stand_in_engine")
SIZE = "368x368"
"""As a PNG 406 KB of noise, the picture of the reference's measurement."""

_PACKINGS = 5
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One run's figures.

    Attributes:
        worker: "agent" or "serial".
        gpu_seconds: GPU time of a task.
        tasks: How many tasks.
        busy_percent: Share of the time between the first and the last GPU work.
        overhead_ms: Time without GPU work, per task.
        longest_gap_ms: Longest time without.
        cpu_ms: CPU time of the worker's process per task, without its start and without packing
            the picture.
        packing_ms: CPU time of packing the picture.
        first_mib: Resident memory after a tenth of the tasks.
        last_mib: Resident memory at the end.
    """

    worker: str
    gpu_seconds: float
    tasks: int
    busy_percent: float
    overhead_ms: float
    longest_gap_ms: float
    cpu_ms: float
    packing_ms: float
    first_mib: float
    last_mib: float


def main() -> None:
    """Measure, show, save."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--seconds", type=float, nargs="+", default=[0.2, 0.5, 1.5])
    parser.add_argument("--workers", nargs="+", default=["serial", "agent"])
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    rows: list[Row] = []
    with emulated_aws() as aws, Proxy(aws.port, delays=REGION_DELAYS) as proxy:
        os.environ.update(aws.environment)
        for _ in range(arguments.repeats):
            for seconds in arguments.seconds:
                for worker in arguments.workers:
                    rows.append(_measure(aws, proxy, worker, seconds, arguments.tasks))
    shown = _medians(rows)
    _print(shown)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    document = {"picture": SIZE, "delays": REGION_DELAYS, "rows": [asdict(row) for row in shown]}
    arguments.output.write_text(json.dumps(document, indent=2) + "\n", "utf-8")


def _measure(aws: Aws, proxy: Proxy, worker: str, seconds: float, tasks: int) -> Row:
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(aws, Path(name))
        scene.publish_model()
        for _ in range(tasks):
            scene.send()
        trace = Path(name) / "trace"
        trace.touch()
        module = {"agent": AGENT, "serial": ("benchmarks.serial_loop",)}[worker]
        arguments = [str(seconds), SIZE, str(trace), *([str(tasks)] if worker == "serial" else [])]
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *module, *arguments],
                env={
                    **os.environ,
                    **aws.environment,
                    **scene.environment.to_environment(),
                    "AWS_ENDPOINT_URL": proxy.url,
                    "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
                },
                cwd=ROOT,
                stderr=log,
            )
        try:
            return _watch(process, scene, trace, worker, seconds, tasks)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def _watch(
    process: subprocess.Popen[bytes],
    scene: Scene,
    trace: Path,
    worker: str,
    seconds: float,
    tasks: int,
) -> Row:
    """Wait until the tasks are done, and read the figures."""
    cpu: list[tuple[int, float]] = []
    memory: list[float] = []
    with tqdm(mininterval=1, total=tasks, desc=f"{worker} at {seconds} s", unit="task") as bar:
        while True:
            lines = trace.read_text().splitlines()
            if len(lines) > bar.n:
                bar.update(len(lines) - bar.n)
            if process.poll() is None:
                cpu.append((len(lines), _cpu_seconds(process.pid)))
                memory.append(_resident_mib(process.pid))
            if process.poll() is not None or (len(lines) >= tasks and scene.left() == (0, 0)):
                break
            time.sleep(0.25)
    done, spans = len(lines), [tuple(map(float, line.split())) for line in lines]
    assert done >= tasks, f"{worker} ended after {done} of {tasks} tasks"
    gaps = [after[0] - before[1] for before, after in pairwise(spans)]
    busy = sum(end - begin for begin, end in spans)
    packing = _packing_seconds(scene)
    first = next(each for each in cpu if each[0] >= 1)
    return Row(
        worker=worker,
        gpu_seconds=seconds,
        tasks=done,
        busy_percent=round(100 * busy / (spans[-1][1] - spans[0][0]), 2),
        overhead_ms=round(1000 * sum(gaps) / len(gaps), 2),
        longest_gap_ms=round(1000 * max(gaps), 1),
        cpu_ms=round(1000 * ((cpu[-1][1] - first[1]) / max(1, done - first[0]) - packing), 1),
        packing_ms=round(1000 * packing, 1),
        first_mib=round(memory[len(memory) // 10], 1),
        last_mib=round(memory[-1], 1),
    )


def _packing_seconds(scene: Scene) -> float:
    """Return the CPU time that this machine needs to make a file of the stand-in's picture."""
    width, height = map(int, SIZE.split("x"))
    raster = Raster(width=width, height=height, pixels=picture(width, height), seed=1)
    parameters = Parameters(width=width, height=height, steps=20, guidance_scale=1.0, seed=1)
    drawing = Drawing(pictures=(raster,), parameters=parameters, software={})
    task = scene.task()
    began = time.thread_time()
    for _ in range(_PACKINGS):
        encode(task, drawing, raster, "0" * 64)
    return (time.thread_time() - began) / _PACKINGS


def _cpu_seconds(process_id: int) -> float:
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_mib(process_id: int) -> float:
    return int(Path(f"/proc/{process_id}/statm").read_text().split()[1]) * _PAGE / 2**20


def _medians(rows: list[Row]) -> list[Row]:
    """Return one row a worker and GPU time: the medians over the repeats."""
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.worker, row.gpu_seconds), []).append(row)
    return [
        replace(
            group[0],
            **{
                field.name: median(getattr(row, field.name) for row in group)
                for field in fields(Row)
                if field.name != "worker"
            },
        )
        for group in groups.values()
    ]


def _print(rows: list[Row]) -> None:
    names: list[tuple[str, Any]] = [
        ("worker", ""), ("gpu_seconds", "s"), ("tasks", ""), ("busy_percent", "%"),
        ("overhead_ms", "ms"), ("longest_gap_ms", "ms"), ("cpu_ms", "ms"), ("packing_ms", "ms"),
        ("first_mib", "MiB"), ("last_mib", "MiB"),
    ]  # fmt: skip
    print(" | ".join(f"{name:>14}" for name, _ in names))
    for row in rows:
        print(" | ".join(f"{getattr(row, name)!s:>10} {unit:<3}" for name, unit in names))


if __name__ == "__main__":
    main()
