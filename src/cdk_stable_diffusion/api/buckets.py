"""The two buckets: pictures that come out, and models that runtimes load."""

from __future__ import annotations

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from .._acknowledge import acknowledge
from ..contract.keys import RETURNED_PREFIX
from ..contract.template import MODEL_BUCKET, OUTPUT_BUCKET
from .marks import mark

_ABORTED_UPLOADS = Duration.days(7)
_OLD_MODELS = Duration.days(30)
_OLD_RETURNS = Duration.days(15)
"""A day longer than SQS keeps any message."""


def make_output_bucket(
    scope: Construct,
    id: str,
    *,
    expiration: Duration | None,
    key: kms.IKey | None,
    removal_policy: RemovalPolicy,
) -> s3.Bucket:
    """Make the bucket for pictures and results.

    It keeps no versions: a task writes the same keys however often it runs, so a second version
    would be a second copy, and an expired picture shall be gone.

    Args:
        scope: Where.
        id: Its id.
        expiration: When objects are deleted, or None for never.
        key: Key of one's own, or None for keys that S3 manages.
        removal_policy: What becomes of it when it leaves the stack.
    """
    rules = [
        s3.LifecycleRule(abort_incomplete_multipart_upload_after=_ABORTED_UPLOADS),
        # Agents delete these by themselves but for those of messages that SQS gave up.
        s3.LifecycleRule(prefix=RETURNED_PREFIX, expiration=_OLD_RETURNS),
    ]
    if expiration is not None:
        rules.append(s3.LifecycleRule(expiration=expiration))
    bucket = _make_bucket(
        scope, id, OUTPUT_BUCKET, rules, key=key, removal_policy=removal_policy, versioned=False
    )
    acknowledge(
        bucket,
        {
            "NIST.800.53.R5-S3BucketVersioningEnabled": (
                "A task writes the same keys however often it runs, so a version would be a copy "
                "of what is there; and a picture that its lifecycle deletes shall be gone."
            ),
            "NIST.800.53.R5-S3BucketReplicationEnabled": (
                "A picture can be drawn again from its task, and S3 keeps it in three or more "
                "zones. Where another region must have a copy, a bucket that replicates can be "
                "brought along."
            ),
        },
    )
    return bucket


def make_model_bucket(
    scope: Construct, id: str, *, key: kms.IKey | None, removal_policy: RemovalPolicy
) -> s3.Bucket:
    """Make the bucket for models.

    It keeps versions for 30 days: weights cannot be made again here, so a model that was deleted
    or written over by mistake can be brought back.

    Args:
        scope: Where.
        id: Its id.
        key: Key of one's own, or None for keys that S3 manages.
        removal_policy: What becomes of it when it leaves the stack.
    """
    rules = [
        s3.LifecycleRule(
            abort_incomplete_multipart_upload_after=_ABORTED_UPLOADS,
            noncurrent_version_expiration=_OLD_MODELS,
        ),
        # S3 refuses this beside an expiration in the same rule.
        s3.LifecycleRule(expired_object_delete_marker=True),
    ]
    bucket = _make_bucket(
        scope, id, MODEL_BUCKET, rules, key=key, removal_policy=removal_policy, versioned=True
    )
    acknowledge(
        bucket,
        {
            "NIST.800.53.R5-S3BucketReplicationEnabled": (
                "S3 keeps a model in three or more zones, and what was deleted or written over can "
                "be brought back for 30 days. Where another region must have a copy, a bucket that "
                "replicates can be brought along."
            )
        },
    )
    return bucket


def _make_bucket(
    scope: Construct,
    id: str,
    kind: str,
    rules: list[s3.LifecycleRule],
    *,
    key: kms.IKey | None,
    removal_policy: RemovalPolicy,
    versioned: bool,
) -> s3.Bucket:
    bucket = s3.Bucket(
        scope,
        id,
        encryption=s3.BucketEncryption.S3_MANAGED if key is None else s3.BucketEncryption.KMS,
        encryption_key=key,
        bucket_key_enabled=None if key is None else True,
        enforce_ssl=True,
        block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
        object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
        versioned=versioned,
        lifecycle_rules=rules,
        removal_policy=removal_policy,
    )
    mark(bucket, kind)
    access_logs = (
        "Whom the bucket lets in is decided by IAM alone, since public access is blocked; data "
        "events of CloudTrail say who reads, for all buckets of an account. Where server access "
        "logs are wanted, a bucket that has them can be brought along."
    )
    acknowledge(
        bucket,
        {
            "AwsSolutions-S1": access_logs,
            "NIST.800.53.R5-S3BucketLoggingEnabled": access_logs,
        },
    )
    if key is None:
        acknowledge(
            bucket,
            {
                "NIST.800.53.R5-S3DefaultEncryptionKMS": (
                    "S3 encrypts every object with AES-256, under keys that it manages. "
                    "SdApi(encryption_key=...) takes a key of yours."
                )
            },
        )
    return bucket
