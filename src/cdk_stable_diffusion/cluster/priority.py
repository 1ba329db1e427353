"""Which runtime's pods get a GPU first."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Priority(Enum):
    """Which runtime's waiting pods get a free GPU first.

    A pod that waits goes before waiting pods of lower priority, but never ends one that draws.

    Attributes:
        class_name: Name of the PriorityClass.
    """

    HIGH = ("high", 10)
    """Before all others, such as for people who wait."""
    NORMAL = ("normal", 0)
    """Like pods without a priority."""
    LOW = ("low", -10)
    """After all others, such as for work in bulk."""

    @property
    def class_name(self) -> str:
        """Name of the PriorityClass."""
        return f"stable-diffusion-{self.value[0]}"

    def manifest(self) -> dict[str, Any]:
        """Return the PriorityClass."""
        return {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": self.class_name},
            "value": self.value[1],
            # A pod that made room would lose the picture that it draws.
            "preemptionPolicy": "Never",
            "description": f"Runtimes of {self.value[0]} priority; they never end other pods",
        }
