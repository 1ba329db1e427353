"""How many pods a runtime has."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aws_cdk import Duration

from .._validation import A_NUMBER, A_WHOLE_NUMBER, Faults
from .seconds import check_seconds, whole_seconds

_MAX_REPLICAS = 1_000
_MAX_STABILIZATION_SECONDS = 3_600


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """How a runtime follows its queues.

    KEDA keeps enough pods that each has `tasks_per_replica` tasks to do:

        tasks_per_replica = max(1, floor(target_latency / seconds_per_image))
        replicas = ceil((waiting + running tasks) / tasks_per_replica)

    within `min_replicas` and `max_replicas`; the tasks are those of all queues together. A pod that
    has n tasks to do answers the last of them after n x `seconds_per_image`, so with the defaults,
    60 s and 5 s, a pod for every 12 tasks answers the last within a minute: 12 tasks have 1 pod, 13
    have 2, 100 have 9, and from 109 on there are 10. A smaller target buys more GPUs for the same
    work.

    Growing: the first pod is asked for within 10 seconds, in which KEDA looks at an idle queue;
    more are asked for every 15 seconds, each time at most twice as many as there are, or four more.
    Kubernetes lets a tenth more tasks pass before it adds a pod to those that run. The time that a
    new node takes to start, some minutes, comes on top.

    Shrinking: once fewer pods have sufficed for `scale_down_stabilization`, at most half of them
    end each minute; the last one ends when the queue has been empty, and no task running, for
    `cooldown`. A node then stays for `GpuNodes.consolidate_after`. So with the defaults, 5 minutes
    and 60 seconds, a GPU costs 6 minutes more after the last task.

    While KEDA cannot read a queue, the number of pods stays as it is.

    Attributes:
        target_latency: Longest time from a request to its result once enough pods run, at least a
            second and no less than `seconds_per_image`. Default: 60 seconds.
        seconds_per_image: How long one task takes on one GPU; measure it with your model.
            Default: 5.
        min_replicas: Fewest pods. With 0, an idle runtime costs nothing. Default: 0.
        max_replicas: Most pods. A dynamic runtime has as many lanes as they are worth, unless
            `Model.dynamic(lanes=...)` says how many. Default: 10.
        cooldown: How long the queue must be empty before the last pod ends. Default:
            5 minutes.
        scale_down_stabilization: How long fewer pods must suffice before one of several ends, at
            most an hour. Default: 5 minutes.
    """

    target_latency: Duration | None = None
    seconds_per_image: float = 5.0
    min_replicas: int = 0
    max_replicas: int = 10
    cooldown: Duration | None = None
    scale_down_stabilization: Duration | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        self._check_times(faults)
        self._check_replicas(faults)
        faults.raise_if_any("Scaling")

    def _check_times(self, faults: Faults) -> None:
        before = len(faults.messages)
        check_seconds(faults, "target_latency", self.target_latency, least=1)
        if faults.check_type("seconds_per_image", self.seconds_per_image, (int, float), A_NUMBER):
            faults.check(
                math.isfinite(self.seconds_per_image) and self.seconds_per_image > 0,
                f"seconds_per_image is {self.seconds_per_image}: more than 0",
            )
        if len(faults.messages) == before:
            target = self.target_latency_seconds
            faults.check(
                target >= self.seconds_per_image,
                f"target_latency is {target} seconds{' by default' * (self.target_latency is None)}"
                f": cannot be met, since seconds_per_image is {self.seconds_per_image}; at least "
                "that long",
            )
        check_seconds(faults, "cooldown", self.cooldown, least=0)
        check_seconds(
            faults,
            "scale_down_stabilization",
            self.scale_down_stabilization,
            least=0,
            most=_MAX_STABILIZATION_SECONDS,
        )

    def _check_replicas(self, faults: Faults) -> None:
        knows_most = faults.check_type("max_replicas", self.max_replicas, int, A_WHOLE_NUMBER)
        knows_fewest = faults.check_type("min_replicas", self.min_replicas, int, A_WHOLE_NUMBER)
        if knows_most:
            faults.check(
                1 <= self.max_replicas <= _MAX_REPLICAS,
                f"max_replicas is {self.max_replicas}: 1 to {_MAX_REPLICAS}",
            )
        if knows_fewest and knows_most:
            faults.check(
                0 <= self.min_replicas <= self.max_replicas,
                f"min_replicas is {self.min_replicas}: 0 to max_replicas, {self.max_replicas}",
            )

    @property
    def target_latency_seconds(self) -> int:
        """The target latency in seconds."""
        return whole_seconds(self.target_latency, default=60)

    @property
    def cooldown_seconds(self) -> int:
        """The idle time before the last pod ends, in seconds."""
        return whole_seconds(self.cooldown, default=300)

    @property
    def scale_down_stabilization_seconds(self) -> int:
        """The time for which fewer pods must suffice, in seconds."""
        return whole_seconds(self.scale_down_stabilization, default=300)

    @property
    def tasks_per_replica(self) -> int:
        """How many tasks, waiting or running, one pod is for."""
        return max(1, math.floor(self.target_latency_seconds / self.seconds_per_image))

    def replicas_for(self, tasks: int) -> int:
        """Return how many pods KEDA asks for.

        Args:
            tasks: Tasks that wait or run.
        """
        wanted = math.ceil(tasks / self.tasks_per_replica)
        return min(max(wanted, self.min_replicas), self.max_replicas)
