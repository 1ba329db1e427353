"""A plan: a TOML file with a workload, the setup to try, a target, and what to search through."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..contract.limits import MAX_MODEL_NAME_CHARACTERS
from ..contract.names import MODEL_NAME_SAYS, is_model_name
from .rules import Checked, number, read, refuse_unknown, shown, whole
from .search import Grid, Target
from .setup import Autoscaling, CacheSizes, Lanes, Setup, SharedQueue, upstream_defaults
from .workload import Demand, Loading, Models, Nodes, Workload

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_TABLES = (
    "seed",
    "demand",
    "models",
    "model",
    "loading",
    "nodes",
    "cache",
    "lanes",
    "scaling",
    "agent",
    "target",
    "search",
)


class InvalidPlan(ValueError):
    """A plan's file is wrong; the message names everything that is."""


@dataclass(frozen=True, kw_only=True)
class ScalingPlan(Checked):
    """The arguments of a runtime's `Scaling`, in seconds.

    Attributes:
        target_latency_seconds: Longest time from request to result once enough replicas run.
            Default: 60.
        min_replicas: Fewest replicas. Default: 0.
        max_replicas: Most replicas. Default: 10.
        cooldown_seconds: How long the queue must be empty before the last replica ends. Default:
            300.
        scale_down_stabilization_seconds: How long fewer must suffice before one of several ends.
            Default: 300.
    """

    target_latency_seconds: float = number(60.0, least=1)
    min_replicas: int = whole(0, most=1_000)
    max_replicas: int = whole(10, least=1, most=1_000)
    cooldown_seconds: float = number(300.0)
    scale_down_stabilization_seconds: float = number(300.0, most=3_600)

    def _faults(self) -> list[str]:
        if self.min_replicas <= self.max_replicas:
            return []
        return [f"min_replicas is {self.min_replicas}: at most max_replicas, {self.max_replicas}"]

    def autoscaling(self, seconds_per_task: float) -> Autoscaling:
        """Return what this makes of a runtime.

        Args:
            seconds_per_task: How long one task takes.
        """
        return Autoscaling.for_target(
            self.target_latency_seconds,
            seconds_per_task,
            min_replicas=self.min_replicas,
            max_replicas=self.max_replicas,
            cooldown_seconds=self.cooldown_seconds,
            stabilization_seconds=self.scale_down_stabilization_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Agent(Checked):
    """What the agent does beside its lanes.

    Attributes:
        lookahead_seconds: How long before the GPU is free it takes the next task and fetches its
            model. Default: 2.
        overhead_seconds: How long the GPU waits after each task for the agent. Default: 0.
    """

    lookahead_seconds: float = number(2.0)
    overhead_seconds: float = number(0.0)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A workload, the setup to try, and what to look for.

    Attributes:
        workload: The workload.
        setup: The setup to try, with lanes.
        target: What is to be reached. Default: nothing is searched for.
        grid: What to search through.
    """

    workload: Workload
    setup: Setup
    target: Target | None
    grid: Grid

    def setups(self) -> tuple[Setup, ...]:
        """Return the setups to compare: upstream's defaults, a shared queue, and the lanes."""
        shared = replace(self.setup, name="shared queue", routing=SharedQueue())
        return upstream_defaults(), shared, self.setup


def read_plan(path: Path) -> Plan:
    """Read a plan.

    Args:
        path: The TOML file.

    Raises:
        InvalidPlan: Naming everything that is wrong with it.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidPlan(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InvalidPlan(f"{path} is no TOML: {error}") from error
    faults: list[str] = []
    plan = _plan(document, faults)
    if plan is None:
        raise InvalidPlan(f"{path}: {'; '.join(faults)}")
    return plan


def _plan(document: dict[str, Any], faults: list[str]) -> Plan | None:
    refuse_unknown(document, dict.fromkeys(_TABLES), "", faults)
    seed = document.get("seed", 1)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        faults.append(f"seed must be a whole number of at least 0, is {shown(seed)}")
    for name in ("demand", "loading", "nodes"):
        if name not in document:
            faults.append(f"the table [{name}] is missing")
    demand = read(Demand, _with_list(document.get("demand", {})), "demand", faults)
    loading = read(Loading, document.get("loading", {}), "loading", faults)
    nodes = read(Nodes, document.get("nodes", {}), "nodes", faults)
    models = _models(document, faults)
    cache = read(CacheSizes, document.get("cache", {}), "cache", faults)
    lanes = _lanes(document.get("lanes", {}), models, faults)
    scaling = read(ScalingPlan, document.get("scaling", {}), "scaling", faults)
    agent = read(Agent, document.get("agent", {}), "agent", faults)
    target = read(Target, document["target"], "target", faults) if "target" in document else None
    grid = read(Grid, document.get("search", {}), "search", faults)
    # Tables that are missing have been named once; what is missing in them says no more.
    faults[:] = [each for each in faults if not _is_of_missing(each, document)]
    if models and cache and cache.gpu_gibibytes is not None:
        if cache.gpu_gibibytes < max(models.gibibytes):
            faults.append(
                f"cache.gpu_gibibytes is {cache.gpu_gibibytes:g}: too little for the largest "
                f"model, {max(models.gibibytes):g}"
            )
    if faults:
        return None
    assert demand and loading and nodes and models and cache and lanes and scaling and agent
    assert grid
    setup = Setup(
        name="lanes",
        routing=lanes,
        cache=cache,
        autoscaling=scaling.autoscaling(demand.seconds_per_task),
        lookahead_seconds=agent.lookahead_seconds,
        overhead_seconds=agent.overhead_seconds,
        target_latency_seconds=scaling.target_latency_seconds,
    )
    workload = Workload(demand=demand, models=models, loading=loading, nodes=nodes, seed=seed)
    return Plan(workload=workload, setup=setup, target=target, grid=grid)


def _is_of_missing(fault: str, document: dict[str, Any]) -> bool:
    table, dot, _ = fault.partition(".")
    return bool(dot) and table in ("demand", "loading", "nodes") and table not in document


def _with_list(table: object) -> object:
    """Return the demand with one rate as the rate of every hour."""
    if isinstance(table, dict) and isinstance(table.get("tasks_per_minute"), (int, float)):
        return {**table, "tasks_per_minute": [table["tasks_per_minute"]]}
    return table


@dataclass(frozen=True, kw_only=True)
class _ModelTable(Checked):
    count: int = whole(least=1, most=10_000)
    zipf: float = number(0.9, most=5)
    gibibytes: float = number(above=True)


@dataclass(frozen=True, kw_only=True)
class _NamedModel(Checked):
    share: float = number(above=True)
    gibibytes: float = number(above=True)
    name: str = ""


def _models(document: dict[str, Any], faults: list[str]) -> Models | None:
    if ("models" in document) == ("model" in document):
        faults.append("give either [models], with their count, or one [[model]] for each")
        return None
    if "models" in document:
        table = read(_ModelTable, document["models"], "models", faults)
        if table is None:
            return None
        return Models.zipf(table.count, exponent=table.zipf, gibibytes=table.gibibytes)
    return _named_models(document["model"], faults)


def _named_models(tables: object, faults: list[str]) -> Models | None:
    if not isinstance(tables, list) or not tables:
        faults.append(f"model must be tables, [[model]], is {shown(tables)}")
        return None
    before = len(faults)
    models = []
    for index, table in enumerate(tables):
        where = f"model[{index}]"
        model = read(_NamedModel, table, where, faults)
        if model is None:
            continue
        models.append(model)
        if not isinstance(model.name, str) or not is_model_name(model.name):
            faults.append(
                f"{where}.name must be 1 to {MAX_MODEL_NAME_CHARACTERS} {MODEL_NAME_SAYS}, is "
                f"{shown(model.name)}"
            )
    for name, times in Counter(str(model.name) for model in models).items():
        if times > 1:
            faults.append(f"model {name} is there {times} times: once")
    if len(faults) > before:
        return None
    return Models.named(
        [model.name for model in models],
        [model.share for model in models],
        [model.gibibytes for model in models],
    )


def _lanes(table: object, models: Models | None, faults: list[str]) -> Lanes | None:
    spread: object = {}
    if isinstance(table, dict):
        spread = table.get("spread", {})
        table = {name: value for name, value in table.items() if name != "spread"}
    if not isinstance(spread, dict):
        faults.append(f"lanes.spread must be a table of models and lanes, is {shown(spread)}")
        spread = {}
    for name, lanes in spread.items():
        if isinstance(lanes, bool) or not isinstance(lanes, int) or lanes < 1:
            faults.append(
                f"lanes.spread.{name} must be a whole number of at least 1, is {shown(lanes)}"
            )
        if models and name not in models.names:
            faults.append(f"lanes.spread.{name} is none of the models")
    return read(Lanes, table, "lanes", faults, spread=spread)
