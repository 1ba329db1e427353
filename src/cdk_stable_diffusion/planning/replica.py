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
        next_task: The task that it took ahead.
        next_tier: Where the model of that one was.
        next_ready: When that model is fetched.
        lanes: Its home lanes.
        oldest_at: When it last took the oldest of them.
    """

    name: str
    node: Node
    cache: Cache
    is_ready: bool = False
    ends: bool = False
    task: int = NOTHING
    until: float = 0.0
    next_task: int = NOTHING
    next_tier: int = 0
    next_ready: float = 0.0
    lanes: list[int] = field(default_factory=list)
    oldest_at: float = 0.0
