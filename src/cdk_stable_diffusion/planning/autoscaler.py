"""How many replicas KEDA and the Horizontal Pod Autoscaler ask for, over time."""

from __future__ import annotations

import math
from collections import deque

from .setup import Autoscaling

SYNC_SECONDS = 15.0
"""How often the Horizontal Pod Autoscaler looks."""

_TOLERANCE = 0.1
_GROWTH = 2
_GROWTH_PODS = 4


class Autoscaler:
    """KEDA decides between none and one, Kubernetes above that.

    The tasks are those of all lanes together, since the runtime's scaling formula is their sum.
    """

    def __init__(self, settings: Autoscaling) -> None:
        """Begin with the fewest replicas.

        Args:
            settings: How to scale.
        """
        self._settings = settings
        self._last_active = -math.inf
        self._asked: deque[tuple[float, int]] = deque()
        self._ended: deque[tuple[float, int]] = deque()
        self.replicas = settings.min_replicas

    @property
    def is_fixed(self) -> bool:
        """Whether the number never changes."""
        return self._settings.min_replicas == self._settings.max_replicas

    def poll(self, now: float, tasks: int) -> None:
        """Do what KEDA does each time it looks: wake up, or let the last replica end.

        Args:
            now: The time.
            tasks: Tasks that wait or run.
        """
        if tasks > 0:
            self._last_active = now
            self.replicas = self.replicas or 1
        elif self.replicas and not self._settings.min_replicas:
            if now - self._last_active > self._settings.cooldown_seconds:
                self.replicas = 0
                self._asked.clear()
                self._ended.clear()

    def sync(self, now: float, tasks: int) -> None:
        """Do what the Horizontal Pod Autoscaler does each time it looks.

        Args:
            now: The time.
            tasks: Tasks that wait or run.
        """
        current = self.replicas
        if current == 0:
            return
        settings = self._settings
        wanted = current
        use = tasks / (settings.tasks_per_replica * current)
        if not 1 - _TOLERANCE <= use <= 1 + _TOLERANCE:
            wanted = math.ceil(tasks / settings.tasks_per_replica)
        wanted = min(max(wanted, settings.min_replicas, 1), settings.max_replicas)
        self._asked.append((now, wanted))
        while self._asked[0][0] < now - settings.stabilization_seconds:
            self._asked.popleft()
        if wanted > current:
            self.replicas = min(wanted, max(_GROWTH * current, current + _GROWTH_PODS))
        elif wanted < current:
            self._shrink(now, max(each for _, each in self._asked))

    def _shrink(self, now: float, wanted: int) -> None:
        """End some, once fewer have sufficed for long enough."""
        if wanted >= self.replicas:
            return
        while self._ended and self._ended[0][0] <= now - self._settings.shrink_seconds:
            self._ended.popleft()
        at_first = self.replicas + sum(each for _, each in self._ended)
        fewest = math.floor(at_first * (1 - self._settings.shrink_percent / 100))
        after = max(wanted, fewest)
        if after < self.replicas:
            self._ended.append((now, self.replicas - after))
            self.replicas = after
