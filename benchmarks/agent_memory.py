"""Whether the agent's memory stays flat over many tasks.

    python -m benchmarks.agent_memory [--tasks 5000] [--gpu-seconds 0.2]

A real agent with a stand-in for its engine, on an emulated AWS. Its resident memory is read every
few tasks. Ends with 1 if the agent has grown since the first 500 tasks, which fill its caches and
start its threads.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path
from statistics import linear_regression, median

from tqdm import tqdm

from benchmarks.agent_overlap import AGENT, ROOT, SIZE
from cdk_stable_diffusion.planning.drawing import Drawing
from tests.agent.emulated import emulated_aws
from tests.agent.scene import Aws, Scene

RESULTS = ROOT / "docs" / "benchmarks" / "agent-memory.json"
PLOT = ROOT / "docs" / "images" / "agent-memory.svg"
WARM_TASKS = 500

_SETTLED_SHARE = 0.2
_MOST_GROWTH_PERCENT = 5.0
"""Of some 60 MiB: two thirds of a KiB a task, and so less than the shortest message."""

_MOST_SECONDS_A_TASK = 1.0
"""Beside the GPU's."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What was measured.

    Attributes:
        date: When.
        python: Version of Python.
        picture: Size of the pictures.
        tasks: How many were done.
        gpu_seconds: GPU time of a task.
        seconds: How long it took.
        after_warm_up_mib: Median over the first tasks after the warm-up.
        at_end_mib: Median over as many last tasks.
        growth_percent: From the one to the other.
        kib_per_1000_tasks: Slope of a line through all samples after the warm-up.
        samples: Tasks done and resident MiB.
    """

    date: str
    python: str
    picture: str
    tasks: int
    gpu_seconds: float
    seconds: float
    after_warm_up_mib: float
    at_end_mib: float
    growth_percent: float
    kib_per_1000_tasks: float
    samples: list[tuple[int, float]]


def main() -> int:
    """Measure, show, save.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=5_000)
    parser.add_argument("--gpu-seconds", type=float, default=0.2)
    parser.add_argument("--every", type=int, default=25, help="tasks between two samples")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, default=PLOT)
    arguments = parser.parse_args()
    with emulated_aws() as aws:
        os.environ.update(aws.environment)
        report = _measure(aws, arguments.tasks, arguments.gpu_seconds, arguments.every)
    for name, value in asdict(report).items():
        if name != "samples":
            print(f"{name:>20}  {value}")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(asdict(report)) + "\n", "utf-8")
    _draw(report, arguments.plot)
    return int(report.growth_percent > _MOST_GROWTH_PERCENT)


def _measure(aws: Aws, tasks: int, gpu_seconds: float, every: int) -> Report:
    with tempfile.TemporaryDirectory() as name:
        scene = Scene(aws, Path(name))
        scene.publish_model()
        for number in tqdm(range(tasks), unit="task", desc="send", mininterval=1):
            # Some long and some short, each another one.
            scene.send(prompt=f"task {number} " + "of many " * (number % 200))
        trace = Path(name) / "trace"
        trace.touch()
        with (Path(name) / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *AGENT, str(gpu_seconds), SIZE, str(trace)],
                env={
                    **os.environ,
                    **scene.environment.to_environment(),
                    "PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT))),
                },
                cwd=ROOT,
                stderr=log,
            )
        began = time.monotonic()
        deadline = began + tasks * (_MOST_SECONDS_A_TASK + gpu_seconds)
        try:
            samples = _samples(process, scene, trace, tasks, every, deadline)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
        return _report(samples, gpu_seconds, round(time.monotonic() - began, 1))


def _samples(
    process: subprocess.Popen[bytes],
    scene: Scene,
    trace: Path,
    tasks: int,
    every: int,
    deadline: float,
) -> list[tuple[int, float]]:
    samples: list[tuple[int, float]] = []
    with tqdm(total=tasks, unit="task", desc="do", mininterval=1) as bar:
        while bar.n < tasks or scene.left() != (0, 0):
            assert process.poll() is None, "the agent has ended"
            assert time.monotonic() < deadline, f"{bar.n} of {tasks} tasks"
            done = len(trace.read_bytes().splitlines())
            bar.update(done - bar.n)
            if done and (not samples or done >= samples[-1][0] + every):
                samples.append((done, _resident_mib(process.pid)))
                scene.more_results()
            time.sleep(0.1)
        return [*samples, (done, _resident_mib(process.pid))]


def _resident_mib(process_id: int) -> float:
    pages = int(Path(f"/proc/{process_id}/statm").read_text().split()[1])
    return round(pages * _PAGE / 2**20, 2)


def _report(samples: list[tuple[int, float]], gpu_seconds: float, seconds: float) -> Report:
    warm = [sample for sample in samples if sample[0] >= WARM_TASKS]
    count = max(1, int(len(warm) * _SETTLED_SHARE))
    first, last = (median(mib for _, mib in part) for part in (warm[:count], warm[-count:]))
    slope = linear_regression([done for done, _ in warm], [mib for _, mib in warm]).slope
    return Report(
        date=datetime.now(timezone.utc).date().isoformat(),
        python=platform.python_version(),
        picture=SIZE,
        tasks=samples[-1][0],
        gpu_seconds=gpu_seconds,
        seconds=seconds,
        after_warm_up_mib=round(first, 2),
        at_end_mib=round(last, 2),
        growth_percent=round(100 * (last / first - 1), 2),
        kib_per_1000_tasks=round(slope * 1_000 * 1_024, 1),
        samples=samples,
    )


def _draw(report: Report, path: Path) -> None:
    left, top, width, height = 70, 80, 700, 240
    most = 20 * (int(max(mib for _, mib in report.samples)) // 20 + 1)
    drawing = Drawing(
        left + width + 40,
        top + height + 60,
        title="Resident memory of the agent",
        description=f"{report.after_warm_up_mib} MiB after the first {WARM_TASKS} tasks, "
        f"{report.at_end_mib} MiB at the end of {report.tasks} tasks",
    )
    drawing.text(20, 30, "Resident memory of the agent, in MiB", style="title")
    drawing.text(
        20,
        50,
        f"{report.tasks} tasks of {report.gpu_seconds:g} s with pictures of {report.picture}, a "
        f"stand-in engine, Python {report.python}, {report.date}",
    )

    def x(done: float) -> float:
        return left + width * done / report.tasks

    def y(mib: float) -> float:
        return top + height * (1 - mib / most)

    for mark in range(0, most + 1, 20):
        drawing.line(left, y(mark), left + width, y(mark), style="grid")
        drawing.text(left - 10, y(mark) + 4, str(mark), style="small", anchor="end")
    for mark in range(0, report.tasks + 1, 1_000):
        drawing.text(x(mark), top + height + 20, f"{mark:,}", style="small", anchor="middle")
    drawing.text(left + width / 2, top + height + 42, "tasks done", anchor="middle")
    drawing.line(x(WARM_TASKS), top, x(WARM_TASKS), top + height, style="rule")
    drawing.text(x(WARM_TASKS) + 6, top + 12, "warm", style="small")
    for (done, mib), (next_done, next_mib) in pairwise(report.samples):
        drawing.line(x(done), y(mib), x(next_done), y(next_mib), style="edge")
    drawing.write(path)


if __name__ == "__main__":
    sys.exit(main())
