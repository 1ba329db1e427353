"""Models in the model bucket."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ...contract import ModelFile, ModelManifest
from ...contract.keys import model_manifest_key, model_prefix
from .aws_errors import error_code, is_absent
from .failure import TaskFailure
from .manifest import MAX_MANIFEST_BYTES, read_manifest

_MANIFEST_SECONDS = 60.0
_RANGE_BYTES = 8 << 20
_RANGES_AT_ONCE = 8
"""One connection to S3 gives a fraction of what a node's network takes."""

_BEYOND_END = frozenset({"416", "InvalidRange"})


@dataclass(frozen=True)
class _Known:
    manifest: ModelManifest
    until: float


class ModelSource:
    """Reads manifests and files of models. Safe for many threads."""

    def __init__(self, s3: Any, bucket: str) -> None:
        """Connect.

        Args:
            s3: S3 client.
            bucket: The model bucket.
        """
        self._s3 = s3
        self._bucket = bucket
        self._known: dict[str, _Known] = {}

    def manifest(self, model: str) -> ModelManifest:
        """Return a model's manifest, at most a minute old.

        Args:
            model: The model's name.

        Raises:
            TaskFailure: If there is none, or it is one that cannot be used.
        """
        known = self._known.get(model)
        if known is not None and time.monotonic() < known.until:
            return known.manifest
        manifest = self._read_manifest(model)
        self._known[model] = _Known(manifest, time.monotonic() + _MANIFEST_SECONDS)
        return manifest

    def read(self, model: str, file: ModelFile) -> Iterator[bytes]:
        """Return the pieces of a file in order, fetched some at a time.

        Args:
            model: The model's name.
            file: The file, from the model's manifest. No more than its size is read.

        Raises:
            TaskFailure: If it is not there.
        """
        fetched: deque[Future[bytes]] = deque()
        pool = ThreadPoolExecutor(_RANGES_AT_ONCE, "range")
        try:
            for start in range(0, file.size, _RANGE_BYTES):
                if len(fetched) == _RANGES_AT_ONCE:
                    yield fetched.popleft().result()
                fetched.append(pool.submit(self._read_range, model, file, start))
            while fetched:
                yield fetched.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _read_range(self, model: str, file: ModelFile, start: int) -> bytes:
        end = min(start + _RANGE_BYTES, file.size) - 1
        try:
            answer = self._s3.get_object(
                Bucket=self._bucket,
                Key=model_prefix(model) + file.path,
                Range=f"bytes={start}-{end}",
            )
        except ClientError as error:
            if error_code(error) in _BEYOND_END:
                return b""
            if is_absent(error):
                raise TaskFailure(
                    "model-invalid",
                    f"model {model!r}: {file.path} is in the manifest but not in the bucket",
                ) from None
            raise
        with closing(answer["Body"]) as body:
            data: bytes = body.read()
        return data

    def _read_manifest(self, model: str) -> ModelManifest:
        key = model_manifest_key(model)
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if is_absent(error):
                raise TaskFailure(
                    "model-not-found", f"model {model!r}: s3://{self._bucket}/{key} is not there"
                ) from None
            raise
        with closing(answer["Body"]) as body:
            data = body.read(MAX_MANIFEST_BYTES + 1)
        return read_manifest(data, model=model, place=key)
