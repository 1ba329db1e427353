"""The figures of `benchmarks.model_load` in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HEAD = (
    "| Network | Raw | `download_file` + `from_pretrained` | Agent + engine, checked "
    "| Of the raw rate: boto3 | agent, least to most |\n"
    "| --- | --- | --- | --- | --- | --- |\n"
)


def figures_in_words(report: Mapping[str, Any]) -> str:
    """Return the table of medians.

    Args:
        report: As it is written.
    """
    return _HEAD + "".join(_line(row) for row in report["rows"])


def _line(row: Mapping[str, Any]) -> str:
    seconds = {name: values["median"] for name, values in row["seconds"].items()}
    shares = row["percent_of_raw"]
    limit = row["gigabits_per_second"]
    agent = shares["agent"]
    cells = (
        f"{limit:g} Gbit/s" if limit else "no limit",
        f"{seconds['raw']:.2f} s, {row['raw_megabytes_per_second']} MB/s",
        f"{seconds['download_file']:.2f} + {seconds['from_pretrained']:.2f} s",
        f"{seconds['agent']:.2f} + {seconds['engine']:.2f} s",
        f"{shares['download_file']['median']:.0f} %",
        f"**{agent['median']:.0f} %**, {agent['least']:.0f} to {agent['most']:.0f} %",
    )
    return f"| {' | '.join(cells)} |\n"
