"""Which tasks in hand share a forward pass, and how many may."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ...contract import limits
from .compatibility import memory_key, pass_key
from .engine import Drawing
from .work import Work

_SHARE_OF_TIMEOUT = 0.5
_MOST_KEPT = 1_000


class Sharing:
    """Chooses by what was measured; what was never drawn is drawn alone first."""

    def __init__(self, *, most_tasks: int, task_timeout_seconds: float) -> None:
        """Set the limits.

        Args:
            most_tasks: Most tasks of a pass; 1 for each alone.
            task_timeout_seconds: Longest a task may generate, and so a pass.
        """
        self.most_tasks = most_tasks
        self._timeout = task_timeout_seconds
        # Most pictures of a pass: by what is equal in it, and by what its memory depends on.
        self._measured: dict[str, float] = {}
        self._failed: dict[str, float] = {}

    def key(self, work: Work) -> str | None:
        """Return what is equal for all tasks that may share a task's pass; None to be alone."""
        return pass_key(work) if self.most_tasks > 1 else None

    def company(self, first: Work, others: Iterable[Work]) -> list[Work]:
        """Choose what shares a task's pass.

        Args:
            first: The task that is drawn next.
            others: What else is in hand, in order.

        Returns:
            Those of the others that go with it.
        """
        together = [first]
        for other in others:
            if self._fits(together, other):
                together.append(other)
        return together[1:]

    def passes_before_another(self, hand: Sequence[Work]) -> int:
        """Return how many passes begin before the one that another task would be in.

        Args:
            hand: The tasks that are drawn before; the other one is taken to be like the last.
        """
        passes: list[list[Work]] = []
        mine: list[Work] = []
        for work in hand:
            mine = next((each for each in passes if self._fits(each, work)), [])
            if not mine:
                passes.append(mine)
            mine.append(work)
        return len(passes) - (bool(hand) and self._fits(mine, hand[-1]))

    def measured(self, works: Sequence[Work], drawing: Drawing, seconds: float) -> None:
        """Learn from a pass that went well.

        Args:
            works: The tasks of the pass.
            drawing: What was drawn for one of them.
            seconds: How long the pass took.
        """
        key = works[0].key
        if key is None:
            return
        parameters = drawing.parameters
        most: float = math.inf if drawing.most_pictures is None else drawing.most_pictures
        # As much as a single task may ask for, whatever the memory holds.
        if parameters.width and parameters.height:
            most = min(most, limits.MAX_PIXELS_PER_TASK // (parameters.width * parameters.height))
        # At worst, pictures take as long together as one after the other.
        each = seconds / _pictures(works)
        most = min(most, _SHARE_OF_TIMEOUT * self._timeout / max(each, 1e-6))
        _keep(self._measured, key, most)

    def was_too_large(self, works: Sequence[Work]) -> None:
        """Learn from a pass that failed and was itself to blame: half of it is the most now."""
        _keep(self._failed, memory_key(works[0].task.request), max(1, _pictures(works) // 2))

    def _fits(self, together: Sequence[Work], other: Work) -> bool:
        if not together or other.key is None or other.key != together[0].key:
            return False
        if len(together) >= self.most_tasks:
            return False
        pictures = _pictures(together) + other.task.request.num_images
        return pictures <= self._most_pictures(other, other.key)

    def _most_pictures(self, work: Work, key: str) -> float:
        most = self._measured.get(key, 1)
        if not self._failed:
            return most
        return min(most, self._failed.get(memory_key(work.task.request), math.inf))


def _pictures(works: Sequence[Work]) -> int:
    return sum(work.task.request.num_images for work in works)


def _keep(values: dict[str, float], key: str, value: float) -> None:
    if len(values) >= _MOST_KEPT:
        values.clear()
    values[key] = value
