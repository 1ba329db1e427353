"""What a runtime may do in AWS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from ..contract.keys import MODELS_PREFIX, RETURNED_PREFIX
from .input_images import InputImages

if TYPE_CHECKING:
    from ..api import SdApi

_QUEUES = 40
"""Most queues of one statement, which must fit a managed policy of 6,144 characters."""


def agent_statements(
    *,
    api: SdApi,
    queues: Sequence[sqs.IQueue],
    overflow_queue: sqs.IQueue | None,
    dead_letter_queue: sqs.IQueue,
    input_images: InputImages,
) -> list[iam.PolicyStatement]:
    """Return what the pods of a runtime may do.

    Args:
        api: Whose buckets and result topic they use.
        queues: Where they take tasks from: the queue of each lane, and the overflow queue.
        overflow_queue: Where they pass tasks on to; None where there is one lane.
        dead_letter_queue: Where they put what they give up.
        input_images: Where the pictures come from that tasks begin with.
    """
    take = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    if len(queues) > 1:
        # To see where tasks wait before it takes any from a lane that is not its own.
        take.append("sqs:GetQueueAttributes")
    statements = [
        *_on_queues("TakeTasks", take, queues),
        iam.PolicyStatement(
            sid="GiveUpTasks",
            actions=["sqs:SendMessage"],
            resources=[dead_letter_queue.queue_arn],
        ),
        iam.PolicyStatement(
            sid="PublishResults",
            actions=["sns:Publish"],
            resources=[api.result_topic.topic_arn],
        ),
        iam.PolicyStatement(
            sid="DeliverPictures",
            # Reading lets a task that comes again find its own result.
            actions=["s3:PutObject", "s3:GetObject"],
            resources=[api.output_bucket.arn_for_objects("*")],
        ),
        iam.PolicyStatement(
            sid="ForgetReturns",
            actions=["s3:DeleteObject"],
            resources=[api.output_bucket.arn_for_objects(f"{RETURNED_PREFIX}*")],
        ),
        iam.PolicyStatement(
            sid="LoadModels",
            # Even where the image carries every model: a request may add to it what lies there.
            actions=["s3:GetObject"],
            resources=[api.model_bucket.arn_for_objects(f"{MODELS_PREFIX}*")],
        ),
    ]
    if overflow_queue is not None:
        statements.append(
            iam.PolicyStatement(
                sid="PassOnTasks",
                actions=["sqs:SendMessage"],
                resources=[overflow_queue.queue_arn],
            )
        )
    if input_images.buckets:
        statements.append(
            iam.PolicyStatement(
                sid="ReadInputImages",
                actions=["s3:GetObject"],
                resources=input_images._resources,
            )
        )
    if input_images._keys:
        statements.append(
            iam.PolicyStatement(
                sid="DecryptInputImages",
                actions=["kms:Decrypt"],
                resources=[key.key_arn for key in input_images._keys],
            )
        )
    encrypt = ["kms:GenerateDataKey", "kms:Decrypt"]
    for sid, key, actions in (
        ("EncryptResults", api.result_topic.master_key, encrypt),
        ("EncryptPictures", api.output_bucket.encryption_key, encrypt),
        ("DecryptModels", api.model_bucket.encryption_key, ["kms:Decrypt"]),
    ):
        if key is not None:
            statements.append(
                iam.PolicyStatement(sid=sid, actions=actions, resources=[key.key_arn])
            )
    return statements


def scaler_statements(queues: Sequence[sqs.IQueue]) -> list[iam.PolicyStatement]:
    """Return what KEDA's operator may do for a runtime: read the depth of its queues.

    Args:
        queues: The runtime's queues. Of the statements, each has room in a managed policy.
    """
    return _on_queues("ReadQueueDepth", ["sqs:GetQueueAttributes"], queues)


def _on_queues(
    sid: str, actions: Sequence[str], queues: Sequence[sqs.IQueue]
) -> list[iam.PolicyStatement]:
    parts = [queues[first : first + _QUEUES] for first in range(0, len(queues), _QUEUES)]
    return [
        iam.PolicyStatement(
            sid=f"{sid}{number}" if number > 1 else sid,
            actions=list(actions),
            resources=[queue.queue_arn for queue in part],
        )
        for number, part in enumerate(parts, start=1)
    ]
