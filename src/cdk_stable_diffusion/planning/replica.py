"""One replica: a pod on a node of its own, as far as the simulation knows it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .cache import Cache

NOTHING = -1
"""No task."""


@dataclass(slots=True, eq=False)
class Node:
    """A node with one GPU.

    Attributes:
        since: When it was asked for; it costs from then on.
        starts_at: When it can have a pod.
        free_since: When its pod ended.
        replica: Its pod.
        is_reclaimed: Whether EC2 takes it away.
        is_gone: Whether it has ended.
    """

    since: float
    starts_at: float
    free_since: float = math.inf
    replica: Replica | None = None
    is_reclaimed: bool = False
    is_gone: bool = False


@dataclass(slots=True)
class Usual:
    """How long something takes, as far as a replica has seen it: the last time counts for half.

    Attributes:
        seconds: The time; infinite as long as nothing was seen.
    """

    seconds: float = math.inf

    def learn(self, seconds: float) -> None:
        """Take note of one."""
        seen = self.seconds < math.inf
        self.seconds = (seconds + self.seconds) / 2 if seen else seconds


@dataclass(slots=True)
class Held:
    """A task in a replica's hand.

    Attributes:
        task: The task.
        tier: Where its model was.
        ready: When that is as near as it can be brought before the GPU is free.
    """

    task: int
    tier: int
    ready: float


@dataclass(slots=True, eq=False)
class Replica:
    """A replica.

    Attributes:
        name: Its pod's name, which gives it its home lanes.
        node: Its node.
        cache: What it keeps of models.
        is_ready: Whether it takes tasks.
        ends: Whether it takes no more.
        task: The task that it works on.
        until: When that one is done.
        model: The model of that one or, without one, of the one before.
        loads_for: How long it was loaded.
        hand: The tasks that it has taken ahead.
        fetches_until: When it has fetched their models.
        looks_at: When it looks for another such task next.
        drawing: How long its tasks take.
        loading: How long its loads take.
        lanes: Its home lanes.
        oldest_at: When it last took the oldest task of its hand.
        left_over_at: When it took something last that had waited for longer than any replica is
            idle, if all that it has taken since had, too.
        idle_until: When it was last without a task.
        watches_since: Since when it knows how much waits in others' lanes.
    """

    name: str
    node: Node
    cache: Cache
    is_ready: bool = False
    ends: bool = False
    task: int = NOTHING
    until: float = 0.0
    model: int = NOTHING
    loads_for: float = 0.0
    hand: list[Held] = field(default_factory=list)
    fetches_until: float = 0.0
    looks_at: float = math.inf
    drawing: Usual = field(default_factory=Usual)
    loading: Usual = field(default_factory=Usual)
    lanes: list[int] = field(default_factory=list)
    oldest_at: float = 0.0
    left_over_at: float = -math.inf
    idle_until: float = -math.inf
    watches_since: float = 0.0
