"""The queues of a runtime: one for each lane and, of several, one for what is passed on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from ..api import SdApi
from ..api.marks import mark
from ..contract.template import TASK_DEAD_LETTER_QUEUE, TASK_QUEUE

_DEAD_LETTER_DAYS = 14


@dataclass(frozen=True, kw_only=True, slots=True)
class TaskQueues:
    """The queues in which the tasks of a runtime wait.

    Attributes:
        lanes: The queue of each lane.
        overflow: Where the home of a lane puts what another pod would begin sooner, and every idle
            pod waits; None where there is one lane.
    """

    lanes: tuple[sqs.Queue, ...]
    overflow: sqs.Queue | None

    @property
    def all(self) -> tuple[sqs.Queue, ...]:
        """The queue of each lane and, last, the overflow queue."""
        return self.lanes if self.overflow is None else (*self.lanes, self.overflow)


def create_dead_letter_queue(scope: Construct) -> sqs.Queue:
    """Make the queue for what is given up, of all queues.

    Args:
        scope: The runtime.
    """
    queue = sqs.Queue(
        scope,
        "DeadLetterQueue",
        retention_period=Duration.days(_DEAD_LETTER_DAYS),
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
    )
    mark(queue, TASK_DEAD_LETTER_QUEUE)
    return queue


def create_task_queues(
    scope: Construct,
    *,
    lanes: int,
    visibility_seconds: int,
    dead_letter_queue: sqs.Queue,
    max_receive_count: int,
) -> TaskQueues:
    """Make the queue of each lane and, where there are several, the overflow queue.

    Args:
        scope: The runtime.
        lanes: How many lanes.
        visibility_seconds: How long a task that was taken stays hidden.
        dead_letter_queue: Where a task goes that was taken too often.
        max_receive_count: How often that is.
    """

    def create(id: str) -> sqs.Queue:
        queue = sqs.Queue(
            scope,
            id,
            visibility_timeout=Duration.seconds(visibility_seconds),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=dead_letter_queue, max_receive_count=max_receive_count
            ),
        )
        mark(queue, TASK_QUEUE)
        return queue

    return TaskQueues(
        # The first is the only one where there are no lanes, and stays when some come.
        lanes=tuple(create(f"Lane{lane}" if lane else "Queue") for lane in range(lanes)),
        overflow=create("OverflowQueue") if lanes > 1 else None,
    )


def subscribe(
    scope: Construct, *, api: SdApi, runtime_name: str, lanes: Sequence[sqs.Queue]
) -> tuple[sns.CfnSubscription, ...]:
    """Subscribe the queue of each lane to its tasks.

    Args:
        scope: The runtime.
        api: Whose request topic it is.
        runtime_name: The runtime's name, which the API's routes have.
        lanes: The queue of each lane, in their order.

    Returns:
        The subscriptions in the same order.
    """
    topic_arn = api.request_topic.topic_arn
    subscriptions = []
    policies = api.routes.filter_policies(runtime_name)
    for lane, (queue, filter_policy) in enumerate(zip(lanes, policies, strict=True)):
        queue.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AllowRequestTopic",
                principals=[iam.ServicePrincipal("sns.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[queue.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": topic_arn}},
            )
        )
        subscription = sns.CfnSubscription(
            scope,
            f"Lane{lane}Subscription" if lane else "Subscription",
            topic_arn=topic_arn,
            protocol="sqs",
            endpoint=queue.queue_arn,
            raw_message_delivery=True,
            filter_policy=filter_policy,
        )
        # Before the policy is there, the topic could not deliver what it is told to.
        subscription.node.add_dependency(queue.node.find_child("Policy"))
        subscriptions.append(subscription)
    api.update_order.add(subscriptions)
    return tuple(subscriptions)
