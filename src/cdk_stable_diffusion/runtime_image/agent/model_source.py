"""Models in the model bucket."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError

from ...contract import ModelFile, ModelManifest
from ...contract.keys import model_manifest_key, model_prefix
from .aws_errors import error_code, is_absent
from .failure import TaskFailure
from .manifest import MAX_MANIFEST_BYTES, read_manifest

_LOG = logging.getLogger(__name__)
_MANIFEST_SECONDS = 60.0
_PIECE_BYTES = 96 << 10
"""Below the size from which the agent has memory taken from the system and given back for each."""

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
        known = self.known(model)
        if known is not None:
            return known
        manifest = self._read_manifest(model)
        self._known[model] = _Known(manifest, time.monotonic() + _MANIFEST_SECONDS)
        return manifest

    def known(self, model: str) -> ModelManifest | None:
        """Return a model's manifest if it was read in the last minute, without asking for it.

        Args:
            model: The model's name.
        """
        known = self._known.get(model)
        return known.manifest if known is not None and time.monotonic() < known.until else None

    def read_range(self, model: str, file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        """Return the pieces of a part of a file, in order.

        A connection that breaks is made again, and goes on where it was.

        Args:
            model: The model's name.
            file: The file, from the model's manifest.
            start: Where the part begins.
            end: Where it ends, behind its last byte. No more is read; less, where the file ends.

        Raises:
            TaskFailure: If it is not there.
        """
        at = start
        while at < end:
            begun_at = at
            try:
                for piece in self._pieces(model, file, at, end):
                    at += len(piece)
                    yield piece
                return
            except (HTTPClientError, IncompleteReadError) as error:
                # Where nothing came at all, the client itself has tried again.
                if at == begun_at:
                    raise
                _LOG.warning("model %r: %s broke off at %d: %s", model, file.path, at, error)

    def _pieces(self, model: str, file: ModelFile, start: int, end: int) -> Iterator[bytes]:
        try:
            answer = self._s3.get_object(
                Bucket=self._bucket,
                Key=model_prefix(model) + file.path,
                Range=f"bytes={start}-{end - 1}",
            )
        except ClientError as error:
            if error_code(error) in _BEYOND_END:
                return
            if is_absent(error):
                raise TaskFailure(
                    "model-invalid",
                    f"model {model!r}: {file.path} is in the manifest but not in the bucket",
                ) from None
            raise
        with closing(answer["Body"]) as body:
            while start < end and (piece := body.read(min(_PIECE_BYTES, end - start))):
                start += len(piece)
                yield piece

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
