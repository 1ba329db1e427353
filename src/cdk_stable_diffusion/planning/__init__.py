"""What a dynamic runtime will do with a workload, before it is deployed: a simulation.

Nothing of AWS is needed for it. It takes the extra `planning`; names are loaded when they are
first used, so that the command can say so.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import Outcome as Outcome
    from .plan_file import InvalidPlan as InvalidPlan
    from .plan_file import Plan as Plan
    from .plan_file import ScalingPlan as ScalingPlan
    from .plan_file import read_plan as read_plan
    from .search import Grid as Grid
    from .search import Proposal as Proposal
    from .search import Target as Target
    from .search import propose as propose
    from .setup import Autoscaling as Autoscaling
    from .setup import CacheSizes as CacheSizes
    from .setup import Lanes as Lanes
    from .setup import Setup as Setup
    from .setup import SharedQueue as SharedQueue
    from .setup import upstream_defaults as upstream_defaults
    from .simulation import simulate as simulate
    from .tasks import Tasks as Tasks
    from .tasks import draw as draw
    from .tasks import saturated as saturated
    from .workload import Demand as Demand
    from .workload import Loading as Loading
    from .workload import Models as Models
    from .workload import Nodes as Nodes
    from .workload import Workload as Workload

_HOMES = {
    "Autoscaling": "setup",
    "CacheSizes": "setup",
    "Demand": "workload",
    "Grid": "search",
    "InvalidPlan": "plan_file",
    "Lanes": "setup",
    "Loading": "workload",
    "Models": "workload",
    "Nodes": "workload",
    "Outcome": "outcome",
    "Plan": "plan_file",
    "Proposal": "search",
    "ScalingPlan": "plan_file",
    "Setup": "setup",
    "SharedQueue": "setup",
    "Target": "search",
    "Tasks": "tasks",
    "Workload": "workload",
    "draw": "tasks",
    "propose": "search",
    "read_plan": "plan_file",
    "saturated": "tasks",
    "simulate": "simulation",
    "upstream_defaults": "setup",
}

__all__ = list(_HOMES)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    """Load a public name from its module (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(_HOMES)
