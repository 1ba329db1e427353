"""Which runtime serves which model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

STATIC = "static"
"""A runtime that preloads the models it names."""

DYNAMIC = "dynamic"
"""The runtime that loads every other model on demand."""

RUNTIME_CLASSES = (STATIC, DYNAMIC)


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
    """

    static: Mapping[str, str] = field(default_factory=dict)
    dynamic: str | None = None
    hosts: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)

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

    def filter_policy(self, runtime: str) -> dict[str, list[Any]]:
        """Return the SNS filter policy of a runtime's queue.

        A static runtime takes its models; the dynamic one takes what no static runtime takes.

        Args:
            runtime: The runtime's name.

        Raises:
            KeyError: If the table does not hold the runtime.
        """
        if runtime == self.dynamic:
            others = sorted(self.static)
            # SNS refuses an empty anything-but.
            return {"model": [{"anything-but": others}] if others else [{"exists": True}]}
        models = sorted(model for model, name in self.static.items() if name == runtime)
        if not models:
            raise KeyError(runtime)
        return {"model": models}

    def to_json(self) -> str:
        """Return the table as JSON."""
        table: dict[str, Any] = {
            "static": dict(sorted(self.static.items())),
            "dynamic": self.dynamic,
        }
        if self.hosts:
            table["hosts"] = dict(sorted(self.hosts.items()))
        return json.dumps(table)

    @classmethod
    def from_json(cls, text: str) -> RouteTable:
        """Read a table that `to_json` wrote.

        Raises:
            ValueError: If the text is not such a table.
        """
        value = json.loads(text)
        if not isinstance(value, dict) or set(value) - {"hosts"} != {"static", "dynamic"}:
            raise ValueError("must be an object with the keys static and dynamic")
        return cls(
            static=value["static"],
            dynamic=value["dynamic"],
            hosts={
                runtime: None if hosts is None else tuple(hosts)
                for runtime, hosts in value.get("hosts", {}).items()
            },
        )
