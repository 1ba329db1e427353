"""The queues of a runtime: one for each lane."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from ..api import SdApi
from ..api.marks import mark
from ..contract.template import TASK_DEAD_LETTER_QUEUE, TASK_QUEUE

_DEAD_LETTER_DAYS = 14


def create_dead_letter_queue(scope: Construct) -> sqs.Queue:
    """Make the queue for what is given up, of all lanes.

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
) -> tuple[sqs.Queue, ...]:
    """Make the queue of each lane.

    Args:
        scope: The runtime.
        lanes: How many.
        visibility_seconds: How long a task that was taken stays hidden.
        dead_letter_queue: Where a task goes that was taken too often.
        max_receive_count: How often that is.

    Returns:
        The queues in the order of the lanes.
    """
    queues = tuple(
        sqs.Queue(
            scope,
            # The first is the only one where there are no lanes, and stays when some come.
            f"Lane{lane}" if lane else "Queue",
            visibility_timeout=Duration.seconds(visibility_seconds),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=dead_letter_queue, max_receive_count=max_receive_count
            ),
        )
        for lane in range(lanes)
    )
    for queue in queues:
        mark(queue, TASK_QUEUE)
    return queues


def subscribe(
    scope: Construct, *, api: SdApi, runtime_name: str, queues: Sequence[sqs.Queue]
) -> tuple[sns.CfnSubscription, ...]:
    """Subscribe each queue to the tasks of its lane.

    Args:
        scope: The runtime.
        api: Whose request topic it is.
        runtime_name: The runtime's name, which the API's routes have.
        queues: The queues in the order of the lanes.

    Returns:
        The subscriptions in the same order.
    """
    topic_arn = api.request_topic.topic_arn
    subscriptions = []
    policies = api.routes.filter_policies(runtime_name)
    for lane, (queue, filter_policy) in enumerate(zip(queues, policies, strict=True)):
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
