"""The times that follow from the longest task of a runtime."""

from __future__ import annotations

from dataclasses import dataclass

LEASE_SECONDS = 30
"""How long a task stays hidden from others after the agent's last heartbeat."""

MIN_TASK_SECONDS = 10
MAX_TASK_SECONDS = 12 * 3_600 - LEASE_SECONDS
"""SQS hides a message for at most 12 hours."""

_MAX_DRAIN_SECONDS = 480
_FLUSH_SECONDS = 30
_NODE_MARGIN_SECONDS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """The times that follow from the longest task.

    Attributes:
        longest_task_seconds: Longest that the pictures of one task may take.
    """

    longest_task_seconds: int

    @property
    def visibility_seconds(self) -> int:
        """The queue's visibility timeout: longest task + one lease (30 s).

        The agent takes a task on a lease and renews it, so that the task of an agent that died is
        back within 30 s. This longer time is for a consumer that does not renew: it holds a task
        for as long as the task may take, and one lease more to delete it.
        """
        return self.longest_task_seconds + LEASE_SECONDS

    @property
    def drain_seconds(self) -> int:
        """How long an agent goes on after SIGTERM: the longest task, at most 8 minutes.

        A task that is not done by then goes back to the queue. A spot instance is gone after
        2 minutes; what it had is back in the queue one lease later.
        """
        return min(self.longest_task_seconds, _MAX_DRAIN_SECONDS)

    @property
    def pod_grace_seconds(self) -> int:
        """The pod's grace period: the drain + 30 s to give tasks back and to end the engine."""
        return self.drain_seconds + _FLUSH_SECONDS

    @property
    def node_grace_seconds(self) -> int:
        """The least grace period of a node: the pod's + 60 s, and so less than 10 minutes.

        Karpenter kills a pod at once whose grace period is longer than its node's, and the
        function that deletes the pool has 15 minutes.
        """
        return self.pod_grace_seconds + _NODE_MARGIN_SECONDS
