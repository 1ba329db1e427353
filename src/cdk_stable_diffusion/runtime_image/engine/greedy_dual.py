"""Which model to give up for another: GreedyDual-Size, by Cao and Irani (1997).

A model is worth the seconds that it takes to get it back for each byte that it takes here, counted
from the worth of the last that was given up. So what is not used ages, and one that is small or
slow to come back ages longer.
"""

from __future__ import annotations


class GreedyDual:
    """The order in which to give models up."""

    def __init__(self) -> None:
        """Begin without a model."""
        self._age = 0.0
        # The one used longest ago first, which decides between two of the same worth.
        self._worth: dict[str, float] = {}

    def use(self, name: str, *, seconds: float, size: int) -> None:
        """Note that a model is used.

        Args:
            name: The model.
            seconds: How long it would take to get it back.
            size: Its bytes here.
        """
        self._worth.pop(name, None)
        self._worth[name] = self._age + seconds / max(1, size)

    def least(self, but: str | None = None) -> str | None:
        """Return the model to give up first; None if there is no other.

        Args:
            but: One to keep, whatever it is worth. Default: none.
        """
        others = [name for name in self._worth if name != but]
        return min(others, key=self._worth.__getitem__, default=None)

    def give_up(self, name: str) -> None:
        """Note that a model was given up for another: from now on, the others have aged."""
        self._age = max(self._age, self._worth.pop(name))

    def remove(self, name: str) -> None:
        """Note that a model is gone for another reason."""
        self._worth.pop(name, None)
