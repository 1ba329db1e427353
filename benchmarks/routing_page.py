"""Writes what `benchmarks.routing_simulated` found into the page on planning."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any


def with_figures(page: str, report: Mapping[str, Any], plan: Mapping[str, Any]) -> str:
    """Return the page on planning with the figures in it.

    Args:
        page: The page.
        report: Of the benchmark, as it is written.
        plan: Of the example, as it is written.
    """
    page = between(page, "plan", plan_in_words(plan))
    page = between(page, "figures", figures_in_words(report))
    return between(page, "findings", findings_in_words(report))


def between(page: str, name: str, text: str) -> str:
    """Return a page with another text between two marks.

    Args:
        page: The page.
        name: What the marks are called.
        text: The text, which ends with a line's end.
    """
    begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
    before, _, rest = page.partition(begin)
    return f"{before}{begin}{text}{end}{rest.partition(end)[2]}"


def figures_in_words(report: Mapping[str, Any]) -> str:
    """Return the figures as a table of the page.

    Args:
        report: As it is written.
    """
    lines = [
        "| Models kept by each replica | Routing | Tasks a second | From S3 / 1,000 tasks "
        "| From memory / 1,000 tasks |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in report["saturated"]:
        lines.append(
            f"| {row['kept'] or 'none'} | {row['name']} | {row['tasks_per_second']:.2f} "
            f"± {row['deviation']:.2f} | {row['from_s3_per_1000']:.0f} "
            f"| {row['from_ram_per_1000']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def findings_in_words(report: Mapping[str, Any]) -> str:
    """Return what the other figures say, as a list of the page.

    Args:
        report: As it is written.
    """
    ratios, grid = report["ratios"], report["grid"]
    rate = {row["name"]: row["tasks_per_second"] for row in report["sensitivity"]}
    open_ = {(row["load"], row["routing"]): row for row in report["open"]}
    light = "30 % of what the shared queue can do"
    heavy = "80 % of what lanes can do"
    hot = "one model has 60 %; 80 % of what the shared queue can do"
    shared, lanes = "shared queue", "32 lanes"
    lines = [
        f"64 lanes and a memory of eight models do {ratios['with_8_models']:.1f} times what the "
        "shared queue does without a cache. With four models in memory for both, lanes do "
        f"{ratios['with_4_models']:.1f} times as much, with {ratios['fewer_downloads']:.1f} times "
        "fewer loads from S3.",
        f"Over {len(grid['cells'])} sizes (4, 8 and 32 replicas; 10, 50 and 500 models; "
        "exponents 0.6, 0.9 and 1.2; eight lanes for each replica) the median is"
        f" {grid['median']:.1f} times the shared queue's "
        f"throughput, the least {grid['least']:.1f}, the most {grid['most']:.1f}.",
        f"Lanes for eight replicas, tasks a second: 8 lanes {rate['count 8']:.2f}, 16 "
        f"{rate['count 16']:.2f}, 32 {rate['count 32']:.2f}, 64 {rate['count 64']:.2f}, 128 "
        f"{rate['count 128']:.2f}. Four for each replica are the default.",
        f"Without stealing, they do {rate['never stolen']:.2f} instead of {rate['count 32']:.2f}. "
        "The age at which a task may be stolen hardly matters where the queue is full "
        f"({rate['steal_after_seconds 0']:.2f} at once, {rate['steal_after_seconds 10']:.2f} after "
        "ten seconds); where it is not, whoever waits for its home pays for it.",
        "A replica that takes the oldest task every 10 seconds does "
        f"{rate['oldest_every_seconds 10']:.2f} tasks a second, every 30 seconds "
        f"{rate['oldest_every_seconds 30']:.2f}, every 60 {rate['oldest_every_seconds 60']:.2f}.",
        f"At 30 % of the shared queue's throughput half of the tasks are done after "
        f"{open_[light, lanes]['latency_p50']:.1f} s instead of "
        f"{open_[light, shared]['latency_p50']:.1f}, and 95 % after "
        f"{open_[light, lanes]['latency_p95']:.1f} instead of "
        f"{open_[light, shared]['latency_p95']:.1f}: what comes while its home loads another model "
        "is passed on.",
        f"With one model that has 60 % of the tasks, at 80 % of the shared queue's throughput, "
        f"95 % are done after {open_[hot, lanes]['latency_p95']:.1f} s instead of "
        f"{open_[hot, shared]['latency_p95']:.1f}, though it has one lane.",
        "At 80 % of what lanes can do, far more than the shared queue can, the longest wait "
        f"in three hours for one of the rarer half of the models is "
        f"{open_[heavy, lanes]['longest_wait_of_a_rare_model']:.0f} s.",
    ]
    wrapped = (textwrap.fill(f"- {line}", 100, subsequent_indent="  ") for line in lines)
    return "\n".join(wrapped) + "\n"


def plan_in_words(plan: Mapping[str, Any]) -> str:
    """Return what the example comes to as a table of the page.

    Args:
        plan: As it is written.
    """
    lines = [
        "| Setup | Replicas | Lanes | Waiting p50, p95, p99 | Loads / 1,000 tasks | From S3 "
        "| GPU hours | $ / 1,000 pictures |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in plan["outcomes"]:
        setup, waiting = row["setup"], row["waiting_seconds"]
        lines.append(
            f"| {setup['name']} | {setup['min_replicas']} to {setup['max_replicas']}, one for "
            f"{setup['tasks_per_replica']} tasks | {setup['lanes']} | "
            + ", ".join(f"{waiting[each]:,.0f}" for each in ("p50", "p95", "p99"))
            + f" s | {row['loads_per_1000']:.0f} | {row['downloads_per_1000']:.0f} "
            f"| {row['gpu_hours']:.0f} | {row['dollars_per_1000_pictures']:.2f} |"
        )
    return "\n".join(lines) + "\n"
