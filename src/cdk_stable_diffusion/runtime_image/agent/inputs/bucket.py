"""Pictures in S3."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

from botocore.exceptions import ClientError

from ..aws_errors import error_code
from .policy import InputPolicy
from .refusal import InputRefused

_REFERENCE = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])/([^\x00-\x1f\x7f]+)")
_MAX_KEY_BYTES = 1024
_DOTS = frozenset({".", ".."})
# S3 answers 403 for what is not there, too, unless the agent may list the bucket.
_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "403", "AccessDenied"})
_UNREADABLE = frozenset({"InvalidObjectState", "400", "InvalidRequest", "KeyTooLongError"})


def read_object(reference: str, *, policy: InputPolicy, s3: Any) -> bytes:
    """Read an object.

    Args:
        reference: ``s3://bucket/key``; the key is taken as it stands, without any decoding.
        policy: What is allowed.
        s3: S3 client.

    Raises:
        InputRefused: If it must not be read, is not there or is too large.
        botocore.exceptions.ClientError: If S3 cannot answer now.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None or len(match[2].encode("utf-8", "surrogatepass")) > _MAX_KEY_BYTES:
        raise InputRefused("must be s3://bucket/key with the name of a bucket and a key in it")
    bucket, key = match.groups()
    # Where the bucket is part of the path, whoever tidies the path up would leave the bucket.
    if not _DOTS.isdisjoint(key.split("/")):
        raise InputRefused("must not have . or .. between the slashes of its key")
    if not policy.allows_object(bucket, key):
        raise InputRefused(
            "is in a bucket that input images may not come from, or in such a part of one"
        )
    try:
        answer = s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in _ABSENT:
            raise InputRefused("is not there, or may not be read by the runtime") from None
        if error_code(error) in _UNREADABLE:
            raise InputRefused("cannot be read from its bucket as it is stored") from None
        raise
    with closing(answer["Body"]) as body:
        if answer["ContentLength"] > policy.max_bytes:
            raise InputRefused(f"must have at most {policy.max_bytes} bytes")
        data: bytes = body.read(policy.max_bytes + 1)
    return data
