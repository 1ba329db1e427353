"""What a runtime may do in AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs

from ..contract.keys import MODELS_PREFIX, RETURNED_PREFIX
from ..contract.routing import STATIC
from .image import RuntimeImage
from .input_images import InputImages
from .model import Model

if TYPE_CHECKING:
    from ..api import SdApi


def agent_statements(
    *,
    api: SdApi,
    queue: sqs.IQueue,
    dead_letter_queue: sqs.IQueue,
    model: Model,
    image: RuntimeImage,
    input_images: InputImages,
) -> list[iam.PolicyStatement]:
    """Return what the pods of a runtime may do.

    Args:
        api: Whose buckets and result topic they use.
        queue: Where they take tasks from.
        dead_letter_queue: Where they put what they give up.
        model: Which models they serve.
        image: Their image, which may carry them.
        input_images: Where the pictures come from that tasks begin with.
    """
    from_bucket = not _all_in_image(model, image)
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
    ]
    if from_bucket:
        statements.append(
            iam.PolicyStatement(
                sid="LoadModels",
                actions=["s3:GetObject"],
                resources=[api.model_bucket.arn_for_objects(f"{MODELS_PREFIX}*")],
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
        (
            "DecryptModels",
            api.model_bucket.encryption_key if from_bucket else None,
            ["kms:Decrypt"],
        ),
    ):
        if key is not None:
            statements.append(
                iam.PolicyStatement(sid=sid, actions=actions, resources=[key.key_arn])
            )
    return statements


def _all_in_image(model: Model, image: RuntimeImage) -> bool:
    """Tell whether the model bucket is never read.

    A dynamic runtime asks it for every model, also for one that the image carries.
    """
    carried = {each.name for each in image.models}
    return model.runtime_class == STATIC and carried.issuperset(model.names)


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
