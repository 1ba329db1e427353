"""``sd-plan``: what a dynamic runtime will do with a workload, and which setup reaches a target."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .outcome import Outcome
    from .plan_file import Plan
    from .search import Proposal
    from .tasks import Tasks

_NEEDED = ("numpy", "rich") if sys.version_info >= (3, 11) else ("numpy", "rich", "tomli")
_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line. Default: that of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        print(
            f"sd-plan: not installed: {', '.join(missing)}; "
            "pip install 'cdk-stable-diffusion[planning]'",
            file=sys.stderr,
        )
        return 1
    try:
        _run(options)
    except (ValueError, OSError) as error:
        print(f"sd-plan: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sd-plan",
        description="Simulate a dynamic runtime: how long tasks wait, how often models are loaded "
        "and what it costs, with upstream's defaults, with one queue and with lanes. With a "
        "target, also look for the cheapest setup that reaches it. Needs no AWS account.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_version()}")
    parser.add_argument("workload", type=Path, help="TOML file that says what has to be done")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="DIRECTORY",
        help="write the figures (plan.json) and plots (*.svg) there (default: nowhere)",
    )
    parser.add_argument(
        "--no-search", action="store_true", help="only compare, whatever the target is"
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    from rich.console import Console

    from .plan_file import read_plan
    from .report import figures, in_words, table
    from .simulation import simulate
    from .tasks import draw

    plan = read_plan(options.workload)
    tasks = draw(plan.workload)
    outcomes = [simulate(plan.workload, setup, tasks) for setup in plan.setups()]
    proposal = None if options.no_search else _propose(plan, tasks)
    if proposal:
        outcomes.append(proposal.outcome)
    facts = plan.workload.facts()
    title = (
        f"{len(tasks):,} tasks in {facts['hours']} hours, {facts['models']} models, "
        f"{facts['seconds_per_task']:g} s each"
    )
    console = Console()
    console.print(table(outcomes, title))
    if proposal and plan.target:
        console.print(in_words(proposal, plan.target), highlight=False, soft_wrap=True)
    if options.output:
        report: dict[str, Any] = {
            "workload": facts,
            "outcomes": [figures(each) for each in outcomes],
        }
        _write(options.output, report, outcomes)


def _propose(plan: Plan, tasks: Tasks) -> Proposal | None:
    from rich.console import Console
    from rich.progress import Progress

    from .search import propose

    if plan.target is None:
        return None
    with Progress(console=Console(stderr=True), transient=True) as bar:
        trying = bar.add_task("setups tried", total=None)
        return propose(
            plan.workload,
            plan.setup,
            plan.target,
            plan.grid,
            tasks=tasks,
            on_try=lambda done, of: bar.update(trying, completed=done, total=of),
        )


def _write(directory: Path, report: dict[str, Any], outcomes: Sequence[Outcome]) -> None:
    from .plots import draw_comparison, draw_gpus, draw_waiting

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "plan.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    draw_waiting(outcomes, directory / "waiting.svg")
    draw_gpus(outcomes, directory / "gpus.svg")
    draw_comparison(outcomes, directory / "comparison.svg")
    for name in ("plan.json", "waiting.svg", "gpus.svg", "comparison.svg"):
        print(directory / name)


def _version() -> str:
    try:
        return metadata.version("cdk-stable-diffusion")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


if __name__ == "__main__":
    sys.exit(main())
