"""The replicas and their nodes: who starts, who ends, and what is paid for."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from .cache import Cache
from .replica import Node, Replica
from .workload import Nodes


@dataclass(frozen=True, slots=True)
class Paid:
    """A node that was paid for.

    Attributes:
        since: From when, in seconds.
        until: Until when.
    """

    since: float
    until: float


class Fleet:
    """Pods on nodes, one on each. A node that is free for a while takes the next pod."""

    def __init__(
        self, nodes: Nodes, *, prefix: str, new_cache: Callable[[], Cache], chance: random.Random
    ) -> None:
        """Begin without nodes.

        Args:
            nodes: What nodes do.
            prefix: How the names of pods begin.
            new_cache: What a replica begins with.
            chance: Decides which pods end.
        """
        self._nodes = nodes
        self._prefix = prefix
        self._new_cache = new_cache
        self._chance = chance
        self._started = 0
        self._free: list[Node] = []
        self._used: list[Node] = []
        self.paid: list[Paid] = []
        self.replicas: list[Replica] = []
        """Those that start or take tasks."""

    def begin(self, count: int) -> list[Replica]:
        """Return replicas that are there from the beginning."""
        return [self._replica(self._node(0.0, starts_at=0.0)) for _ in range(count)]

    def start(self, now: float) -> tuple[Replica, float]:
        """Start a replica, on a free node if there is one.

        Args:
            now: The time.

        Returns:
            The replica, and when it takes tasks.
        """
        self._end_unused(now)
        pod = self._nodes.pod_start_seconds
        if self._free:
            node = self._free.pop()
        else:
            node = self._node(now, starts_at=now + max(self._nodes.start_seconds - pod, 0.0))
        return self._replica(node), max(now, node.starts_at) + pod

    def choose_one_to_end(self) -> Replica:
        """Return the replica that Kubernetes ends: one that still starts, or any."""
        for replica in reversed(self.replicas):
            if not replica.is_ready:
                return replica
        return self._chance.choice(self.replicas)

    def retire(self, replica: Replica) -> None:
        """Note that a replica takes no more tasks. It has its node until `release`."""
        replica.ends = True
        self.replicas.remove(replica)

    def release(self, replica: Replica, now: float) -> None:
        """Note that a replica has ended.

        Args:
            replica: The replica.
            now: The time.
        """
        node = replica.node
        node.replica = None
        self._used.remove(node)
        if node.is_reclaimed:
            self._pay(node, now)
        else:
            node.free_since = now
            self._free.append(node)

    def reclaim(self, node: Node, now: float) -> Replica | None:
        """Let EC2 take a node away.

        Args:
            node: The node.
            now: The time.

        Returns:
            The replica on it, which must end; None if there is none.
        """
        self._end_unused(now)
        if node.is_gone:
            return None
        node.is_reclaimed = True
        if node in self._free:
            self._free.remove(node)
            self._pay(node, now)
        return node.replica

    def close(self, now: float) -> None:
        """Pay for what is still there at the end."""
        self._end_unused(now)
        for node in [*self._free, *self._used]:
            self._pay(node, now)

    def _node(self, now: float, *, starts_at: float) -> Node:
        return Node(since=now, starts_at=starts_at)

    def _replica(self, node: Node) -> Replica:
        self._started += 1
        replica = Replica(f"{self._prefix}-{self._started}", node, self._new_cache())
        node.replica = replica
        self._used.append(node)
        self.replicas.append(replica)
        return replica

    def _end_unused(self, now: float) -> None:
        stay = self._nodes.consolidate_after_seconds
        for node in [each for each in self._free if each.free_since + stay < now]:
            self._free.remove(node)
            self._pay(node, node.free_since + stay)

    def _pay(self, node: Node, until: float) -> None:
        node.is_gone = True
        self.paid.append(Paid(node.since, until))
