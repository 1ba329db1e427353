"""What a runtime may do in AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from ..contract.keys import MODELS_PREFIX, RETURNED_PREFIX
from .input_images import InputImages

if TYPE_CHECKING:
    from ..api import SdApi


def agent_statements(
    *,
    api: SdApi,
    queue: sqs.IQueue,
    dead_letter_queue: sqs.IQueue,
    input_images: InputImages,
) -> list[iam.PolicyStatement]:
    """Return what the pods of a runtime may do.

    Args:
        api: Whose buckets and result topic they use.
        queue: Where they take tasks from.
        dead_letter_queue: Where they put what they give up.
        input_images: Where the pictures come from that tasks begin with.
    """
    statements = [
        iam.PolicyStatement(
            sid="TakeTasks",
            actions=[
                "sqs:ReceiveMessage",
                "sqs:DeleteMessage",
                "sqs:ChangeMessageVisibility",
            ],
            resources=[queue.queue_arn],
        ),
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


def scaler_statements(queue: sqs.IQueue) -> list[iam.PolicyStatement]:
    """Return what KEDA's operator may do for a runtime: read the depth of its queue.

    Args:
        queue: The runtime's queue.
    """
    return [
        iam.PolicyStatement(
            sid="ReadQueueDepth",
            actions=["sqs:GetQueueAttributes"],
            resources=[queue.queue_arn],
        )
    ]
