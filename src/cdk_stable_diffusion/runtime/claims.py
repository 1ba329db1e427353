"""What a construct takes of its app while its arguments are checked: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable

from .._validation import Faults
from ..api.routes import RouteRegistry
from ..cluster.taken_names import TakenNames
from ..contract.routing import DYNAMIC
from .model import Model
from .node_checks import attempt


class Claims:
    """Takes names and routes, and gives them back where any argument is refused.

    They are taken before anything is made, so that a refusal of any comes with the other faults.
    """

    def __init__(self, faults: Faults) -> None:
        """Start with nothing.

        Args:
            faults: Where to record a refusal, and what is wrong otherwise.
        """
        self._faults = faults
        self._give_back: list[Callable[[], None]] = []

    def take_name(self, names: TakenNames, name: str) -> None:
        """Take a name in a cluster.

        Args:
            names: Where nothing else may have it.
            name: The name.
        """
        self._take(lambda: names.take(name), lambda: names.give_back(name))

    def take_route(self, routes: RouteRegistry, name: str, model: Model, lanes: int) -> None:
        """Take the route of a runtime.

        Args:
            routes: Where no other runtime may have its name or its models.
            name: The runtime's name.
            model: Which models it serves.
            lanes: How many lanes it has.
        """

        def take() -> None:
            if model.runtime_class == DYNAMIC:
                routes.add_dynamic(name, lanes=lanes, spread=model.spread)
            else:
                routes.add_static(name, model.names)

        self._take(take, lambda: routes.remove(name))

    def raise_if_any(self, where: str) -> None:
        """Raise one error that names every fault, and keep nothing then.

        Args:
            where: The construct whose arguments were checked.

        Raises:
            ValueError: If anything is wrong.
        """
        if self._faults.messages:
            for give_back in self._give_back:
                give_back()
        self._faults.raise_if_any(where)

    def _take(self, take: Callable[[], None], give_back: Callable[[], None]) -> None:
        before = len(self._faults.messages)
        attempt(self._faults, take)
        if len(self._faults.messages) == before:
            self._give_back.append(give_back)
