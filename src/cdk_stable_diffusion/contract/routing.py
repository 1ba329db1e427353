"""Which runtime serves which model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .lanes import lane_of_task

STATIC = "static"
"""A runtime that preloads the models it names."""

DYNAMIC = "dynamic"
"""The runtime that loads every other model on demand."""

RUNTIME_CLASSES = (STATIC, DYNAMIC)

LANE_ATTRIBUTE = "lane"
"""The message attribute with a task's lane, a number: only where its runtime has several."""

_OPTIONAL_KEYS = {"hosts", "lanes", "spread"}


@dataclass(frozen=True)
class Route:
    """Where a task goes.

    Attributes:
        runtime: The runtime's name.
        runtime_class: "static" or "dynamic".
    """

    runtime: str
    runtime_class: str


@dataclass(frozen=True)
class RouteTable:
    """The runtimes behind one API.

    Attributes:
        static: The models that static runtimes serve, with the runtime's name.
        dynamic: Name of the runtime that takes every other model, if there is one.
        hosts: The HTTPS hosts that input images may come from, by the runtime's name; None for a
            runtime whose hosts are known only at deployment. A runtime that is not named has none.
        lanes: How many lanes the dynamic runtime has; 1 for a single queue.
        spread: Its models that have several lanes, and how many.
    """

    static: Mapping[str, str] = field(default_factory=dict)
    dynamic: str | None = None
    hosts: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    lanes: int = 1
    spread: Mapping[str, int] = field(default_factory=dict)

    def resolve(self, model: str) -> Route | None:
        """Return where a model's tasks go, or None if no runtime serves it."""
        if model in self.static:
            return Route(self.static[model], STATIC)
        return Route(self.dynamic, DYNAMIC) if self.dynamic else None

    def allows_host(self, runtime: str, host: str) -> bool:
        """Tell whether a runtime may fetch input images from a host, as far as that is known.

        Args:
            runtime: The runtime's name.
            host: The host's name in lower case.
        """
        hosts = self.hosts.get(runtime, ())
        return hosts is None or host in hosts

    def lane(self, model: str, task_id: str) -> int | None:
        """Return the lane of a task, or None where its runtime has a single queue.

        Args:
            model: Name of the task's model.
            task_id: The task's id.
        """
        if self.lanes == 1 or model in self.static or not self.dynamic:
            return None
        return lane_of_task(model, task_id, self.lanes, self.spread.get(model, 1))

    def filter_policies(self, runtime: str) -> tuple[dict[str, list[Any]], ...]:
        """Return the SNS filter policies of a runtime's lanes, in their order.

        The API alone decides which runtime serves a model: no policy names one.

        Args:
            runtime: The runtime's name.

        Raises:
            KeyError: If the table does not hold the runtime.
        """
        if runtime != self.dynamic and runtime not in self.static.values():
            raise KeyError(runtime)
        if runtime != self.dynamic or self.lanes == 1:
            return ({"runtime": [runtime]},)
        first: list[Any] = [
            {"numeric": ["=", 0]},
            # While the number of lanes changes, the API may know another one, and SNS drops what
            # nobody takes.
            {"numeric": [">=", self.lanes]},
            {"exists": False},
        ]
        others: list[list[Any]] = [[{"numeric": ["=", lane]}] for lane in range(1, self.lanes)]
        return tuple({"runtime": [runtime], "lane": lane} for lane in (first, *others))

    def to_json(self) -> str:
        """Return the table as JSON."""
        table: dict[str, Any] = {
            "static": dict(sorted(self.static.items())),
            "dynamic": self.dynamic,
        }
        if self.hosts:
            table["hosts"] = dict(sorted(self.hosts.items()))
        if self.lanes > 1:
            table["lanes"] = self.lanes
        if self.spread:
            table["spread"] = dict(sorted(self.spread.items()))
        return json.dumps(table)

    @classmethod
    def from_json(cls, text: str) -> RouteTable:
        """Read a table that `to_json` wrote.

        Raises:
            ValueError: If the text is not such a table.
        """
        value = json.loads(text)
        if not isinstance(value, dict) or set(value) - _OPTIONAL_KEYS != {"static", "dynamic"}:
            raise ValueError("must be an object with the keys static and dynamic")
        return cls(
            static=value["static"],
            dynamic=value["dynamic"],
            hosts={
                runtime: None if hosts is None else tuple(hosts)
                for runtime, hosts in value.get("hosts", {}).items()
            },
            lanes=value.get("lanes", 1),
            spread=value.get("spread", {}),
        )
