"""What others may be allowed to do with an API's buckets."""

from __future__ import annotations

from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3

from ..contract.keys import MODELS_PREFIX


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
        return self._output_bucket.grant_read(grantee)

    def write_models(self, grantee: iam.IGrantable) -> iam.Grant:
        """Allow to publish models: what the pipeline that brings new ones needs.

        Args:
            grantee: Who.
        """
        return self._model_bucket.grant_read_write(grantee, f"{MODELS_PREFIX}*")
