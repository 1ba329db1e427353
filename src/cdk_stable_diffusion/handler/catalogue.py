"""Which models there are."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

KNOWN_SECONDS = 300.0
"""How long a model that is there is believed to be there."""

UNKNOWN_SECONDS = 10.0
"""How long a model that is not there is believed to be missing: it may be on its way."""

MAX_REMEMBERED = 1_000
"""Most answers that are remembered; the names come from clients, who know no end."""

MAX_NEAR_NAMES = 5


class CatalogueUnavailable(Exception):
    """It cannot be said now which models there are."""


class Catalogue(Protocol):
    """The models in the model bucket."""

    def has(self, model: str) -> bool:
        """Tell whether a model is there.

        Args:
            model: Its name.

        Raises:
            CatalogueUnavailable: If that cannot be said now.
        """

    def names(self) -> Sequence[str]:
        """Return names of models that are there; not all, if there are many.

        Raises:
            CatalogueUnavailable: If that cannot be said now.
        """


class RememberingCatalogue:
    """A catalogue that asks another one and remembers what it said for a while."""

    def __init__(self, catalogue: Catalogue, clock: Callable[[], float] = time.monotonic) -> None:
        """Remember nothing yet.

        Args:
            catalogue: The one to ask.
            clock: Seconds. Default: the time since some moment.
        """
        self._catalogue = catalogue
        self._clock = clock
        self._answers: dict[str, tuple[bool, float]] = {}

    def has(self, model: str) -> bool:
        """Tell whether a model is there, or was a while ago."""
        known, until = self._answers.get(model, (False, float("-inf")))
        if self._clock() < until:
            return known
        known = self._catalogue.has(model)
        if len(self._answers) >= MAX_REMEMBERED:
            self._answers.clear()
        seconds = KNOWN_SECONDS if known else UNKNOWN_SECONDS
        self._answers[model] = (known, self._clock() + seconds)
        return known

    def names(self) -> Sequence[str]:
        """Return names of models that are there now."""
        return self._catalogue.names()


def near_names(model: str, names: Iterable[str]) -> list[str]:
    """Return the names most like a model's, the nearest first.

    Args:
        model: The name that is not there.
        names: The names that are.
    """
    by_lower_case = {name.lower(): name for name in sorted(names)}
    near = difflib.get_close_matches(model.lower(), by_lower_case, n=MAX_NEAR_NAMES, cutoff=0.5)
    return [by_lower_case[name] for name in near]
