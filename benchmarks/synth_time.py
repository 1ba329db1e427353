"""How long synthesis takes: ``python -m benchmarks.synth_time [--repeats N]``.

Every case runs in fresh processes, in turn with the others, so that a busy moment of the machine
hits all of them. The baseline is ``import aws_cdk`` alone, which every CDK app in Python pays for;
what a case takes beyond it is what the app and this library cost.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from benchmarks.measuring import (
    IMAGES,
    RESULTS,
    ROOT,
    Run,
    conditions,
    positive,
    run_command,
    spread,
)
from cdk_stable_diffusion.planning.drawing import Drawing

_FILE = RESULTS / "synth-time.json"
_PLOT = IMAGES / "synth-time.svg"
_BARS = (("wall_seconds", "on the clock", "#2563eb"), ("cpu_seconds", "processor time", "#f59e0b"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """Something to measure.

    Attributes:
        name: What it is.
        command: Arguments for Python.
        directory: Where it runs.
        environment: Variables beside those of this process.
    """

    name: str
    command: tuple[str, ...]
    directory: Path = ROOT
    environment: Mapping[str, str] = field(default_factory=dict)


def example(name: str, *, linter: bool) -> Case:
    """Return the synthesis of an example.

    Args:
        name: Folder of the example.
        linter: Whether the CDK's own linter of templates runs, as it does in ``cdk synth``.
    """
    directory = ROOT / "examples" / name
    context = json.loads((directory / "cdk.json").read_text("utf-8"))["context"]
    return Case(
        name=f"{name}, CDK linter on" if linter else name,
        command=("app.py",),
        directory=directory,
        environment={
            "CDK_CONTEXT_JSON": json.dumps(context),
            "CDK_VALIDATION": "true" if linter else "false",
        },
    )


BASELINE = Case(name="import aws_cdk", command=("-c", "import aws_cdk"))
EMPTY_STACK = Case(
    name="an empty stack",
    command=("-c", "import aws_cdk as c; a = c.App(); c.Stack(a, 'Stack'); a.synth()"),
    environment={"CDK_VALIDATION": "false"},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table, and write the figures and a plot.

    Args:
        arguments: Of the command line. Default: those of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.synth_time", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--repeats", type=positive, default=7, metavar="N", help="runs of each case; default: 7"
    )
    repeats = parser.parse_args(arguments).repeats
    cases = [
        BASELINE,
        EMPTY_STACK,
        example("quickstart", linter=False),
        example("production", linter=False),
        example("production", linter=True),
    ]
    report = {**conditions(), "repeats": repeats, "cases": measure(cases, repeats)}
    _FILE.parent.mkdir(parents=True, exist_ok=True)
    _FILE.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    draw(report, _PLOT)
    print_table(report)
    print(f"{_FILE.relative_to(ROOT)}\n{_PLOT.relative_to(ROOT)}")


def measure(cases: Sequence[Case], repeats: int) -> dict[str, dict[str, Any]]:
    """Return by name what each case takes.

    Args:
        cases: The cases, the baseline first.
        repeats: How often each is run, after one run that is not counted.
    """
    runs: dict[str, list[Run]] = {case.name: [] for case in cases}
    with tqdm(total=(repeats + 1) * len(cases), unit="run") as bar:
        for repeat in range(repeats + 1):
            for case in cases:
                bar.set_description(case.name)
                run = _run(case)
                if repeat:  # The first one fills the caches of the disk and of jsii.
                    runs[case.name].append(run)
                bar.update()
    wall = {name: spread([run.wall_seconds for run in each]) for name, each in runs.items()}
    cpu = {name: spread([run.cpu_seconds for run in each]) for name, each in runs.items()}
    base = cases[0].name
    return {
        name: {
            "wall_seconds": wall[name],
            "cpu_seconds": cpu[name],
            "beyond_baseline_seconds": round(wall[name]["median"] - wall[base]["median"], 3),
            "share_beyond_baseline": round(1 - wall[base]["median"] / wall[name]["median"], 3),
        }
        for name in runs
    }


def _run(case: Case) -> Run:
    with tempfile.TemporaryDirectory() as assembly:
        return run_command(
            [sys.executable, *case.command],
            {**os.environ, **case.environment, "CDK_OUTDIR": assembly},
            case.directory,
        )


def print_table(report: Mapping[str, Any]) -> None:
    """Print the medians.

    Args:
        report: As it is written.
    """
    table = Table(title=f"Medians of {report['repeats']} runs in fresh processes")
    table.add_column("case")
    for heading in ("wall s", "least to most", "CPU s", "beyond import s", "share"):
        table.add_column(heading, justify="right")
    for name, case in report["cases"].items():
        wall = case["wall_seconds"]
        table.add_row(
            name,
            f"{wall['median']:.2f}",
            f"{wall['least']:.2f} to {wall['most']:.2f}",
            f"{case['cpu_seconds']['median']:.2f}",
            f"{case['beyond_baseline_seconds']:.2f}",
            f"{case['share_beyond_baseline']:.0%}",
        )
    Console().print(table)


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw the medians as bars, with a line from the least to the most.

    Args:
        report: As it is written.
        path: File for the plot.
    """
    left, right, row = 260, 60, 62
    width, height = 960, 120 + row * len(report["cases"])
    most = max(case[kind]["most"] for case in report["cases"].values() for kind, _, _ in _BARS)
    scale = (width - left - right) / most
    drawing = Drawing(
        width,
        height,
        title="Time to synthesise",
        description="; ".join(
            f"{name}: {case['wall_seconds']['median']} s on the clock, "
            f"{case['cpu_seconds']['median']} s of processor time"
            for name, case in report["cases"].items()
        ),
    )
    drawing.text(20, 30, "Time to synthesise, in seconds", style="title")
    drawing.text(
        20,
        50,
        f"Medians of {report['repeats']} fresh processes, {report['processors']} processors, "
        f"Python {report['python']}, {report['date']}; thin lines: least to most",
    )
    for index, (_, meaning, colour) in enumerate(_BARS):
        drawing.rectangle(left + 130 * index, 62, 14, 12, fill=colour)
        drawing.text(left + 130 * index + 20, 73, meaning)
    for index, (name, case) in enumerate(report["cases"].items()):
        top = 90 + index * row
        drawing.text(left - 12, top + 24, name, style="head", anchor="end")
        for y, (kind, _, colour) in zip((top, top + 22), _BARS, strict=True):
            values = case[kind]
            end = left + values["median"] * scale
            drawing.rectangle(left, y + 2, end - left, 18, fill=colour)
            drawing.line(
                left + values["least"] * scale,
                y + 11,
                left + values["most"] * scale,
                y + 11,
                style="edge",
            )
            drawing.text(left + values["most"] * scale + 6, y + 15, f"{values['median']:.1f}")
    base = next(iter(report["cases"].values()))["wall_seconds"]["median"] * scale
    drawing.line(left + base, 84, left + base, height - 26, style="rule")
    drawing.text(left + base + 6, height - 14, "import aws_cdk alone, which every app pays for")
    drawing.write(path)


if __name__ == "__main__":
    main()
