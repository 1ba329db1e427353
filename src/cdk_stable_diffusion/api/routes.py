"""Which runtimes there are behind an API, gathered while the app is composed.

Runtimes may be added before or after whatever depends on them, and from other stacks: everything
that is made of the routes is a token that is resolved at synthesis, when all runtimes are known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jsii
from aws_cdk import IStableStringProducer, Lazy
from constructs import IConstruct

from .._validation import Faults
from ..contract.lanes import MOST_LANES
from ..contract.names import (
    MODEL_NAME_SAYS,
    RUNTIME_NAME_SAYS,
    is_model_name,
    is_runtime_name,
)
from ..contract.routing import DYNAMIC, STATIC, RouteTable

MAX_FILTER_POLICIES = 200
"""Most lanes of all runtimes of an API: SNS allows a topic so many filter policies."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RuntimeRoutes:
    """What one runtime serves.

    Attributes:
        name: The runtime's name.
        runtime_class: "static" or "dynamic".
        models: The models of a static runtime; empty for a dynamic one, which serves the rest.
        hosts: The HTTPS hosts that its input images may come from; None where they are known only
            at deployment.
        lanes: How many lanes it has.
        spread: Its models with several lanes, and how many.
    """

    name: str
    runtime_class: str
    models: tuple[str, ...] = ()
    hosts: tuple[str, ...] | None = ()
    lanes: int = 1
    spread: Mapping[str, int] = field(default_factory=dict)


class RouteRegistry:
    """The runtimes of one API."""

    def __init__(self) -> None:
        """Start without runtimes."""
        self._runtimes: dict[str, RuntimeRoutes] = {}
        self._constructs: list[IConstruct] = []
        self._followers: list[Callable[[IConstruct], None]] = []

    def announce(self, construct: IConstruct) -> None:
        """Tell followers of a runtime or of a result queue, now that it is complete.

        Args:
            construct: The `SdRuntime` or `ResultQueue`.
        """
        self._constructs.append(construct)
        for follower in self._followers:
            follower(construct)

    def follow(self, follower: Callable[[IConstruct], None]) -> None:
        """Hear of every runtime and result queue behind the API, in whichever order all is made.

        Args:
            follower: Called at once with each that there is, and later with each that comes.
        """
        self._followers.append(follower)
        for construct in tuple(self._constructs):
            follower(construct)

    def add_static(self, runtime_name: str, models: Sequence[str]) -> None:
        """Add a runtime that serves the models that it names.

        Args:
            runtime_name: Its name; no other runtime of the API may have it.
            models: Its models; no other runtime may serve them.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        faults = self._name_faults(runtime_name)
        faults.check(len(models) > 0, "models is empty: a static runtime serves at least one")
        served = self.table().static
        for model, times in Counter(models).items():
            faults.check(is_model_name(model), f"model {model!r}: must be {MODEL_NAME_SAYS}")
            faults.check(times == 1, f"model {model!r} is named {times} times")
            owner = served.get(model)
            faults.check(owner is None, f"model {model!r} is served by runtime {owner!r} already")
        self._check_filters(faults, 1)
        faults.raise_if_any(f"static runtime {runtime_name!r}")
        self._runtimes[runtime_name] = RuntimeRoutes(
            name=runtime_name, runtime_class=STATIC, models=tuple(models)
        )

    def add_dynamic(
        self, runtime_name: str, *, lanes: int = 1, spread: Mapping[str, int] | None = None
    ) -> None:
        """Add the runtime that serves every model that no static runtime serves.

        Args:
            runtime_name: Its name; no other runtime of the API may have it.
            lanes: How many lanes it has, 1 to 150. Default: one.
            spread: Models with several lanes, and how many. Default: none.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        faults = self._name_faults(runtime_name)
        other = self.table().dynamic
        faults.check(
            other is None,
            f"the API has the dynamic runtime {other!r} already: at most one",
        )
        faults.check(1 <= lanes <= MOST_LANES, f"lanes is {lanes}: 1 to {MOST_LANES}")
        for model, count in (spread or {}).items():
            faults.check(1 <= count <= lanes, f"spread of {model!r} is {count}: 1 to {lanes} lanes")
        self._check_filters(faults, lanes)
        faults.raise_if_any(f"dynamic runtime {runtime_name!r}")
        self._runtimes[runtime_name] = RuntimeRoutes(
            name=runtime_name, runtime_class=DYNAMIC, lanes=lanes, spread=spread or {}
        )

    def allow_hosts(self, runtime_name: str, hosts: tuple[str, ...] | None) -> None:
        """Say from which HTTPS hosts a runtime's input images may come, so that others are refused.

        Args:
            runtime_name: Name of a runtime that was added.
            hosts: The hosts; None where they are known only at deployment.
        """
        self._runtimes[runtime_name] = replace(self._runtimes[runtime_name], hosts=hosts)

    def remove(self, runtime_name: str) -> None:
        """Take a runtime's routes back.

        Args:
            runtime_name: The runtime's name.
        """
        self._runtimes.pop(runtime_name, None)

    def runtimes(self) -> tuple[RuntimeRoutes, ...]:
        """Return the runtimes so far, in the order in which they were added."""
        return tuple(self._runtimes.values())

    def table(self) -> RouteTable:
        """Return the routes so far."""
        dynamic = next((each for each in self.runtimes() if each.runtime_class == DYNAMIC), None)
        return RouteTable(
            static={model: each.name for each in self.runtimes() for model in each.models},
            dynamic=dynamic.name if dynamic else None,
            hosts={each.name: each.hosts for each in self.runtimes() if each.hosts != ()},
            lanes=dynamic.lanes if dynamic else 1,
            spread=dynamic.spread if dynamic else {},
        )

    def filter_policies(self, runtime_name: str) -> tuple[dict[str, list[Any]], ...]:
        """Return the filter policies of a runtime's lanes, in their order.

        Args:
            runtime_name: The runtime's name.

        Raises:
            KeyError: If there is no such runtime.
        """
        return self.table().filter_policies(runtime_name)

    def to_json(self) -> str:
        """Return the routes as of now, as JSON."""
        return self.table().to_json()

    def lazy_json(self) -> str:
        """Return the routes as JSON, to be resolved at synthesis."""
        return Lazy.string(_Json(self))

    def _name_faults(self, runtime_name: str) -> Faults:
        faults = Faults()
        faults.check(
            is_runtime_name(runtime_name),
            f"name is {runtime_name!r}: must be {RUNTIME_NAME_SAYS}",
        )
        faults.check(
            runtime_name not in self._runtimes,
            f"the API has a runtime named {runtime_name!r} already",
        )
        return faults

    def _check_filters(self, faults: Faults, more: int) -> None:
        total = sum(each.lanes for each in self.runtimes()) + more
        faults.check(
            total <= MAX_FILTER_POLICIES,
            f"the API's runtimes would have {total} lanes: at most {MAX_FILTER_POLICIES}, since "
            "SNS allows a topic so many filter policies; give the dynamic runtime fewer lanes, "
            "Model.dynamic(lanes=...), or static runtimes several models each",
        )


@jsii.implements(IStableStringProducer)
class _Json:
    def __init__(self, routes: RouteRegistry) -> None:
        self._routes = routes

    def produce(self) -> str:
        return self._routes.to_json()
