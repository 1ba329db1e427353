"""Draws what `benchmarks.routing` measured, and writes it into the page on lanes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.routing_page import between
from cdk_stable_diffusion.planning.drawing import Drawing

_COLOURS = {"shared queue": "#94a3b8", "lanes": "#2563eb"}
_LEFT, _MIDDLE, _BAR, _ROW = 300, 640, 230, 30


def rows_of(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return each run with what it was.

    Args:
        report: As it is written; parts of it may be missing.
    """
    for row in report.get("small", ()):
        yield f"4 agents, 10 models, no cache, {_ordinal(row['seed'])} names", row
    for row in report.get("large", ()):
        kept = f"{row['cached']} models in memory" if row["cached"] else "no cache"
        yield f"8 agents, 50 models, {kept}", row
    for row in report.get("hot", {}).get("most", ()):
        yield "8 agents, one of 20 models has 60 %", row
    for part, kept in (("light", "no cache"), ("light_cached", "8 models in memory")):
        for row in report.get(part, ()):
            yield f"light load, {kept}", row
    for row in report.get("hot", {}).get("at_a_rate", ()):
        yield "one model has 60 %, at 80 % of the shared queue", row
    if "rare" in report:
        yield "50 models, at 80 % of what lanes can do", report["rare"]


def with_measured(page: str, report: Mapping[str, Any]) -> str:
    """Return the page on lanes with the figures in it.

    Args:
        page: The page.
        report: As it is written.
    """
    return between(page, "measured", measured_in_words(report))


def measured_in_words(report: Mapping[str, Any]) -> str:
    """Return the figures as tables of the page.

    Args:
        report: As it is written.
    """
    lines = [
        "| | Routing | Tasks a second | Loads / 1,000 tasks | From S3 / 1,000 tasks "
        "| 95 % done after | Simulated: tasks a second, loads |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for what, row in rows_of(report):
        latency = f"{row['latency_p95']:.1f} s" if "latency_p95" in row else ""
        simulated = row["simulated"]
        lines.append(
            f"| {what} | {row['routing']} | {row['tasks_per_second']:.2f} "
            f"| {row['loads_per_1000']:.0f} | {row['downloads_per_1000']:.0f} | {latency} "
            f"| {simulated['tasks_per_second']:.2f}, {simulated['loads_per_1000']:.0f} |"
        )
    lines += ["", *compared(report)]
    if off := simulation_off(report):
        lines.append(
            "- Where the queue never runs dry, the simulation is off by at most "
            f"{100 * max(off.values()):.0f} % of the tasks a second, where there are several sets "
            "of names on their average."
        )
    if "rare" in report:
        lines.append(
            "- The longest wait for one of the rarer half of the models, at 80 % of what lanes can "
            f"do: {report['rare']['longest_wait_of_a_rare_model']:.0f} s."
        )
    if "membership" in report:
        lines += _membership_in_words(report["membership"])
    for row in report.get("idle", ()):
        agents = "An idle agent" if row["agents"] == 1 else f"Each of {row['agents']} idle agents"
        lines.append(
            f"- {agents}, {row['lanes']} lanes: {row['sqs_requests_a_minute']:.0f} requests to SQS "
            "a minute."
        )
    return "\n".join(lines) + "\n"


def simulation_off(report: Mapping[str, Any]) -> dict[str, float]:
    """Return by how much of the tasks a second the simulation is off, where the queue is full.

    Args:
        report: As it is written.

    Returns:
        Shares, by what was run. Names of models and replicas are chance, which no other order of
        120 tasks repeats: there it is the average over all sets of names.
    """
    real, simulated = defaultdict[str, list[float]](list), defaultdict[str, list[float]](list)
    for what, row in rows_of(report):
        if "rate" not in row:
            case = what.rpartition(", ")[0] if what.endswith(" names") else what
            name = f"{case}, {row['routing']}"
            real[name].append(row["tasks_per_second"])
            simulated[name].append(row["simulated"]["tasks_per_second"])
    return {name: abs(mean(simulated[name]) / mean(real[name]) - 1) for name in real}


def compared(report: Mapping[str, Any]) -> Iterator[str]:
    """Return what lanes are beside the shared queue, in lines of a list.

    Args:
        report: As it is written; parts of it may be missing.
    """

    def average(rows: Sequence[Mapping[str, Any]], routing: str, field: str) -> float:
        return mean(float(row[field]) for row in rows if row["routing"] == routing)

    rate, loads, from_s3 = "tasks_per_second", "loads_per_1000", "downloads_per_1000_once_filled"
    if rows := report.get("small", ()):
        faster = average(rows, "lanes", rate) / average(rows, "shared queue", rate)
        yield (
            f"- Four agents without a cache do {faster:.1f} times as much with lanes, with "
            f"{average(rows, 'lanes', loads):.0f} loads for 1,000 tasks instead of "
            f"{average(rows, 'shared queue', loads):.0f}."
        )
    if rows := report.get("large", ()):
        shared, like, best = (
            next(row for row in rows if (row["routing"], bool(row["cached"])) == which)
            for which in (("shared queue", False), ("shared queue", True), ("lanes", True))
        )
        yield (
            f"- Eight agents with lanes and a cache do {best[rate] / shared[rate]:.1f} times as "
            f"much as with a queue without one, and {best[rate] / like[rate]:.1f} times as much as "
            "with a queue with the same cache. Once the caches have filled, models come "
            f"{shared[from_s3] / best[from_s3]:.1f} times less often from S3, and "
            f"{like[from_s3] / best[from_s3]:.1f} times."
        )
    for what, rows in (
        ("Under a light load, without a cache,", report.get("light", ())),
        ("Under a light load, with a cache,", report.get("light_cached", ())),
        ("Where one model has 60 % of the tasks,", report.get("hot", {}).get("at_a_rate", ())),
    ):
        if rows:
            lanes, queue = (
                average(rows, each, "latency_p95") for each in ("lanes", "shared queue")
            )
            yield (
                f"- {what} 95 % of the tasks are done after {lanes:.1f} s with lanes, and after "
                f"{queue:.1f} s with a queue."
            )


def _membership_in_words(row: Mapping[str, Any]) -> list[str]:
    return [
        f"- One of four agents was killed, and another started: of {row['tasks']} tasks "
        f"{row['without_result']} had no result. After {row['homes_after_death_seconds']:.1f} s "
        "each lane had a home that lives, and after "
        f"{row['homes_after_joining_seconds']:.1f} s the new one had its lanes. The longest "
        f"wait of a task sent after the death was {row['longest_wait_after_death']:.1f} s, and of "
        f"one in hand then {row['longest_wait_of_a_task_in_hand']:.1f} s, with a lease of "
        f"{row['lease_seconds']} s."
    ]


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Draw throughput or latency, and loads, of each run as bars.

    Args:
        report: As it is written; parts of it may be missing.
        path: File for the plot.
    """
    rows = list(rows_of(report))
    drawing = Drawing(
        1_000,
        110 + _ROW * len(rows),
        title="Lanes and a shared queue, measured with real agents",
        description="; ".join(
            f"{what}, {row['routing']}: {row['tasks_per_second']} tasks a second, "
            f"{row['loads_per_1000']} loads for 1,000 tasks"
            for what, row in rows
        ),
    )
    drawing.text(20, 30, "Lanes and a shared queue, the same tasks and real agents", style="title")
    drawing.text(_LEFT, 58, "tasks a second; the line is the simulation")
    drawing.text(_MIDDLE, 58, "loads / 1,000 tasks")
    most = max(row["tasks_per_second"] for _, row in rows)
    before = ""
    y = 70.0
    for what, row in rows:
        if what != before:
            drawing.text(20, y + 17, what, style="small")
        before = what
        drawing.rectangle(
            _LEFT,
            y + 2,
            _BAR * row["tasks_per_second"] / most,
            20,
            fill=_COLOURS[row["routing"]],
            hint=row["routing"],
        )
        simulated = min(_LEFT + _BAR * row["simulated"]["tasks_per_second"] / most, _MIDDLE - 60)
        drawing.line(simulated, y, simulated, y + 24, style="edge")
        end = max(_LEFT + _BAR * row["tasks_per_second"] / most, simulated)
        drawing.text(end + 6, y + 17, f"{row['tasks_per_second']:.2f}")
        width = _BAR * row["loads_per_1000"] / 1_000
        drawing.rectangle(_MIDDLE, y + 2, width, 20, fill="#f97316")
        drawing.text(_MIDDLE + width + 6, y + 17, f"{row['loads_per_1000']:.0f}")
        y += _ROW
    drawing.text(20, y + 20, "grey: shared queue, blue: lanes", style="small")
    drawing.write(path)


def _ordinal(seed: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(seed, f"{seed}th")
