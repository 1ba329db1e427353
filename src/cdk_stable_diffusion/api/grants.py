"""What others may be allowed to do with an API's buckets."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from ..contract.keys import MODELS_PREFIX

_WRITE_ACTIONS = (
    "s3:PutObject",
    "s3:GetObject",
    "s3:DeleteObject",
    # Large files are uploaded in parts.
    "s3:AbortMultipartUpload",
    "s3:ListMultipartUploadParts",
)


class ApiGrants:
    """Gives rights on the buckets of an `SdApi`, with those on their keys.

    Submitting a task needs no right but an API key. Receiving results is granted on the queue:
    ``results.queue.grant_consume_messages(backend)``. Runtimes give themselves what they need.
    """

    def __init__(self, *, output_bucket: s3.IBucket, model_bucket: s3.IBucket) -> None:
        """Take the buckets.

        Args:
            output_bucket: Bucket for pictures.
            model_bucket: Bucket for models.
        """
        self._output_bucket = output_bucket
        self._model_bucket = model_bucket

    def read_outputs(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow to read and list pictures and results: what a backend needs.

        Args:
            grantee: Who.
        """
        bucket = self._output_bucket
        grant = _allow(grantee, bucket, ["s3:GetObject"], bucket.arn_for_objects("*")).combine(
            _allow(grantee, bucket, ["s3:ListBucket"], bucket.bucket_arn)
        )
        key = bucket.encryption_key
        return grant if key is None else grant.combine(key.grant(grantee, "kms:Decrypt"))

    def write_models(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow to publish, read, list and delete models: what the pipeline for new ones needs.

        Args:
            grantee: Who.
        """
        bucket = self._model_bucket
        models = f"{MODELS_PREFIX}*"
        grant = _allow(
            grantee, bucket, list(_WRITE_ACTIONS), bucket.arn_for_objects(models)
        ).combine(
            _allow(
                grantee,
                bucket,
                ["s3:ListBucket"],
                bucket.bucket_arn,
                conditions={"StringLike": {"s3:prefix": models}},
            )
        )
        key = bucket.encryption_key
        if key is None:
            return grant
        return grant.combine(key.grant(grantee, "kms:GenerateDataKey", "kms:Decrypt"))


def _allow(
    grantee: iam.IGrantable,
    bucket: s3.IBucket,
    actions: list[str],
    resource: str,
    *,
    conditions: dict[str, dict[str, str]] | None = None,
) -> iam.Grant:
    """Allow actions by name: the CDK's own grants on buckets use wildcards in actions."""
    return iam.Grant.add_to_principal_or_resource(
        grantee=grantee,
        actions=actions,
        resource_arns=[resource],
        resource=bucket,
        conditions=conditions,
    )
