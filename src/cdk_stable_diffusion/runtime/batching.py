"""Whether tasks share forward passes of the GPU."""

from __future__ import annotations

from dataclasses import dataclass

from .._validation import A_WHOLE_NUMBER, Faults
from ..contract.environment import MOST_BATCH_TASKS

A_BATCHING = "a Batching, such as Batching.up_to(4)"


@dataclass(frozen=True, slots=True)
class Batching:
    """Whether tasks share forward passes of the GPU; made by one of its factories.

    Tasks that an agent has in hand already share a pass if they are for the same model and agree
    in everything but prompts, seeds, number of pictures and how these are delivered. A lone task
    never waits for company. No more pictures share a pass than the GPU's memory was measured to
    hold, and than can be drawn in half of `longest_task`; the first task of a kind is drawn alone
    for that. A pass that fails is tried again task by task, which costs none of them a try, and a
    task that failed before is always alone.

    Only `Engine.diffusers()` shares passes.

    The pictures of a pass come all at once: what goes first waits for the rest. A queue is worked
    off sooner for that; how much depends on the model and the GPU, and is to be measured there.

    Each task has its own noise, from its own seed, so a picture is that which its task gives alone,
    but for rounding: in single precision it was measured to differ by at most 1 of 255 levels, with
    every scheduler. A GPU draws in half precision with code that it chooses by the size of the
    batch, and nobody has measured there yet what that changes. This is why it is off by default.

    Attributes:
        tasks: Most tasks of a pass.
    """

    tasks: int

    def __post_init__(self) -> None:
        """Check the number.

        Raises:
            ValueError: If it is wrong.
        """
        faults = Faults()
        if faults.check_type("tasks", self.tasks, int, A_WHOLE_NUMBER):
            faults.check(1 <= self.tasks <= MOST_BATCH_TASKS, _wrong(self.tasks))
        faults.raise_if_any("Batching")

    @classmethod
    def off(cls) -> Batching:
        """Each task has a pass of its own.

        Returns:
            The choice.
        """
        return cls(1)

    @classmethod
    def up_to(cls, tasks: int) -> Batching:
        """Tasks in hand share a pass.

        Args:
            tasks: Most tasks of a pass, 2 to 16. An agent holds as many ahead, for the next pass.

        Returns:
            The choice.

        Raises:
            ValueError: If the number is wrong.
        """
        batching = cls(tasks)
        if tasks == 1:
            raise ValueError(f"Batching: {_wrong(tasks)}")
        return batching


def _wrong(tasks: int) -> str:
    return f"tasks is {tasks}: 2 to {MOST_BATCH_TASKS}; Batching.off() is 1"
