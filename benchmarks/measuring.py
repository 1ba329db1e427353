"""Running something several times, and saying on what machine."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "docs" / "benchmarks"
IMAGES = ROOT / "docs" / "images"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """What one run of a command took.

    Attributes:
        wall_seconds: Time on the clock.
        cpu_seconds: Processor time of the command and of the processes that it waited for.
    """

    wall_seconds: float
    cpu_seconds: float


def run_command(command: Sequence[str], environment: Mapping[str, str], directory: Path) -> Run:
    """Run a command in a fresh process, and measure it.

    Args:
        command: The command.
        environment: Its whole environment.
        directory: Where it runs.

    Raises:
        SystemExit: With what it said, if it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, cwd=directory, capture_output=True, text=True)
    wall_seconds = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return Run(
        wall_seconds=wall_seconds,
        cpu_seconds=(after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime),
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return the median, the least and the most of some values, rounded to milliseconds."""
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def positive(text: str) -> int:
    """Return a number of the command line that must be 1 or more.

    Args:
        text: The number as it was written.

    Raises:
        ArgumentTypeError: If it is less.
    """
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def conditions() -> dict[str, Any]:
    """Return what a reader must know to compare with another run."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "processors": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }
