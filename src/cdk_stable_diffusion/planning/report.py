"""What a plan says in the end: a table, the proposal in words, and the figures as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table

from .outcome import Outcome
from .search import Proposal, Target
from .setup import Lanes, Setup

_CAPTION = (
    "p50 to p99: seconds from the request until the GPU draws; loads: of a model to a GPU, for "
    "1,000 tasks; S3: those that came from there; GPU h: hours of nodes that are paid for; draws: "
    "the share of them in which they draw; $: for 1,000 pictures"
)


def figures(outcome: Outcome) -> dict[str, Any]:
    """Return the figures of an outcome.

    Args:
        outcome: The outcome.
    """
    return {
        "setup": described(outcome.setup),
        "tasks": len(outcome.arrivals),
        "waiting_seconds": {
            f"p{percent}": round(outcome.waiting_percentile(percent), 2) for percent in (50, 95, 99)
        },
        "latency_seconds": {
            f"p{percent}": round(outcome.latency_percentile(percent), 2) for percent in (50, 95, 99)
        },
        "loads_per_1000": round(outcome.loads_per_1000, 1),
        "downloads_per_1000": round(outcome.downloads_per_1000, 1),
        "stolen": outcome.stolen,
        "interrupted": outcome.interrupted,
        "gpu_hours": round(outcome.gpu_hours, 2),
        "useful_share": round(outcome.useful_share, 3),
        "dollars": round(outcome.dollars, 2),
        "dollars_per_1000_pictures": round(outcome.dollars_per_1000_pictures, 3),
    }


def described(setup: Setup) -> dict[str, Any]:
    """Return what a setup is.

    Args:
        setup: The setup.
    """
    scaling, cache = setup.autoscaling, setup.cache
    return {
        "name": setup.name,
        "lanes": _lanes(setup),
        "tasks_per_replica": scaling.tasks_per_replica,
        "min_replicas": scaling.min_replicas,
        "max_replicas": scaling.max_replicas,
        "cooldown_seconds": scaling.cooldown_seconds,
        "ram_gibibytes": cache.ram_gibibytes,
        "disk_gibibytes": cache.disk_gibibytes,
    }


def table(outcomes: Sequence[Outcome], title: str) -> Table:
    """Return a table of outcomes.

    Args:
        outcomes: One for each row.
        title: What it is of.
    """
    made = Table(title=title, caption=_CAPTION, box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("setup", no_wrap=True)
    for heading in ("p50", "p95", "p99", "loads", "S3", "GPU h", "draws", "$"):
        made.add_column(heading, justify="right", no_wrap=True)
    for each in outcomes:
        made.add_row(
            each.setup.name,
            *(_short(each.waiting_percentile(percent)) for percent in (50, 95, 99)),
            f"{each.loads_per_1000:,.0f}",
            f"{each.downloads_per_1000:,.0f}",
            _short(each.gpu_hours),
            f"{each.useful_share:.0%}",
            f"{each.dollars_per_1000_pictures:,.2f}",
        )
    return made


def in_words(proposal: Proposal, target: Target) -> str:
    """Return what is proposed, as it is written in an app.

    Args:
        proposal: The proposal.
        target: What it was looked for.
    """
    outcome = proposal.outcome
    setup, demand = outcome.setup, outcome.workload.demand
    scaling, cache = setup.autoscaling, setup.cache
    seconds = outcome.latency_percentile(target.percent)
    goal = f"{target.percent:g} % of the tasks done within {target.seconds:g} s"
    first = (
        f"Of {proposal.tried} setups tried, this is the cheapest with {goal}"
        if proposal.reaches
        else f"None of {proposal.tried} setups tried has {goal}. This one comes nearest"
    )
    return "\n".join(
        (
            f"{first} ({seconds:.1f} s; {proposal.again_seconds:.1f} s with another seed):",
            "",
            "  scaling=Scaling(",
            f"      target_latency=Duration.seconds({setup.target_latency_seconds:.0f}),",
            f"      seconds_per_image={demand.seconds_per_task:g},",
            f"      min_replicas={scaling.min_replicas},",
            f"      max_replicas={scaling.max_replicas},",
            "  )",
            f"  lanes: {_lanes(setup)}",
            f"  models kept by each replica: {cache.ram_gibibytes:g} GiB in memory, "
            f"{cache.disk_gibibytes:g} GiB on disk",
        )
    )


def _lanes(setup: Setup) -> int:
    if isinstance(setup.routing, Lanes):
        return setup.routing.count_for(setup.autoscaling.max_replicas)
    return 1


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
