"""How long an agent takes to be ready: ``python -m benchmarks.agent_start [--repeats N]``.

An agent of a dynamic runtime runs in a fresh process, as in a pod, with AWS out of reach: what is
measured needs none of it. Its engine then loads the tiny model and draws, which shows what the
first picture costs beyond the others. Models that people use are larger: their times are not these.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.measuring import RESULTS, ROOT, conditions, positive, spread
from cdk_stable_diffusion.contract import AgentEnvironment
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from cdk_stable_diffusion.runtime_image.agent.engine import Generation, ModelDirectory

FILE = RESULTS / "agent-start.json"

_MODEL = ROOT / "src" / "cdk_stable_diffusion" / "local" / "models" / "tiny-shapes"
_NOWHERE = "http://127.0.0.1:9"
_LONGEST_SECONDS = 300.0
_LOOK_SECONDS = 0.01

LIVE = "process answers /livez"
READY = "libraries imported: /readyz"
LOAD = "tiny model loaded"
FIRST = "first picture"
SECOND = "second picture"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the figures.

    Args:
        arguments: Of the command line. Default: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.agent_start", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--repeats", type=positive, default=5, metavar="N", help="how often; default: 5"
    )
    repeats = parser.parse_args(arguments).repeats
    # Before the load of its own.
    machine = conditions()
    seconds: dict[str, list[float]] = {}
    for repeat in tqdm(range(repeats + 1), unit="start"):
        for name, value in (*agent_steps(), *engine_steps()):
            if repeat:  # The first one fills the disk's cache.
                seconds.setdefault(name, []).append(value)
    report = {
        **machine,
        "repeats": repeats,
        "seconds": {name: spread(values) for name, values in seconds.items()},
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    _print(report)
    print(FILE.relative_to(ROOT))


def agent_steps() -> Iterator[tuple[str, float]]:
    """Start an agent, and yield how long it takes to be alive and to be ready."""
    with tempfile.TemporaryDirectory() as folder, _agent(Path(folder)) as (port, started):
        yield LIVE, _wait(f"http://127.0.0.1:{port}/livez") - started
        yield READY, _wait(f"http://127.0.0.1:{port}/readyz") - started


def engine_steps() -> Iterator[tuple[str, float]]:
    """Start an engine, and yield how long it takes to load the tiny model and to draw twice."""
    engine = ChildEngine()
    try:
        if not engine.wait_until_ready(_LONGEST_SECONDS):
            sys.exit("the engine was not ready in time")
        started = time.perf_counter()
        model = ModelDirectory(name="tiny-shapes", digest="benchmark", path=_MODEL)
        engine.load(model, timeout=_LONGEST_SECONDS)
        yield LOAD, time.perf_counter() - started
        for name in (FIRST, SECOND):
            started = time.perf_counter()
            prompt = "a large red circle on a blue background"
            engine.generate(Generation(prompt=prompt, seeds=(1,)), timeout=_LONGEST_SECONDS)
            yield name, time.perf_counter() - started
    finally:
        engine.close()


@contextmanager
def _agent(folder: Path) -> Iterator[tuple[int, float]]:
    """Run an agent; give the port of its probes, and when it was started."""
    port = _free_port()
    environment = AgentEnvironment(
        queue_url=f"{_NOWHERE}/000000000000/queue",
        dead_letter_queue_url=f"{_NOWHERE}/000000000000/dead-letters",
        result_topic_arn="arn:aws:sns:us-east-1:000000000000:results",
        output_bucket="pictures",
        model_bucket="models",
        runtime_name="benchmark",
        runtime_class="dynamic",
        models=(),
        lease_seconds=30,
        task_timeout_seconds=60,
        drain_seconds=0,
        max_receive_count=3,
        model_cache_directory=str(folder / "cache"),
        model_cache_bytes=1024**3,
        health_port=port,
    ).to_environment()
    with (folder / "log").open("wb") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "cdk_stable_diffusion.runtime_image.agent"],
            env={
                **os.environ,
                **environment,
                "AWS_ENDPOINT_URL": _NOWHERE,
                "AWS_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "none",
                "AWS_SECRET_ACCESS_KEY": "none",
            },
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            yield port, started
        finally:
            process.kill()
            process.wait()


def _wait(address: str) -> float:
    """Wait until a probe succeeds, and return when that was."""
    deadline = time.perf_counter() + _LONGEST_SECONDS
    while time.perf_counter() < deadline:
        try:
            with urllib.request.urlopen(address, timeout=5):
                return time.perf_counter()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(_LOOK_SECONDS)
    sys.exit(f"{address} did not succeed within {_LONGEST_SECONDS:.0f} s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"{report['repeats']} starts in fresh processes")
    for heading in ("step", "median s", "least to most"):
        table.add_column(heading)
    for name, each in report["seconds"].items():
        table.add_row(name, f"{each['median']:.2f}", f"{each['least']:.2f} to {each['most']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
