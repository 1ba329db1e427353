"""Models on this machine's disk, shared by all agents on it.

    <directory>/models/<digest>/      files of one model, whole and checked
    <directory>/incoming/<digest>/    files that are being downloaded
    <directory>/locks/<digest>        locked shared by whoever uses a model, exclusively by whoever
                                      downloads or removes it, so that one does for all

A model gets its place in `models` by one rename, so it is whole or absent. The kernel drops the
locks of a process that dies.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from ...contract import ModelManifest
from ...contract.model_kind import PIPELINE
from ...contract.tiers import S3
from .engine import ModelDirectory
from .failure import TaskFailure
from .manifest import check_kind
from .model_download import download
from .model_in_use import ModelInUse
from .model_source import ModelSource
from .reload_cost import ReloadCosts

_LOG = logging.getLogger(__name__)
_MARKER = ".complete"
"""No path in a manifest may start with a dot, so no file of a model has this name."""
_RESERVED = ".reserved"
_LOCK_PAUSE_SECONDS = 0.02
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
LOCK_SECONDS = 900.0
"""Longest to wait for another agent that downloads the same model."""


class ModelCache:
    """Brings models to the disk and removes those that it costs least to bring again."""

    def __init__(
        self,
        source: ModelSource,
        *,
        directory: Path,
        max_bytes: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open or make a cache.

        Args:
            source: Where models come from.
            directory: The cache's directory.
            max_bytes: Most bytes in it.
            clock: What downloads are timed by. Default: the system's.
        """
        self._source = source
        self._clock = clock
        self._costs = ReloadCosts(directory)
        # Digests of what this agent has brought and not opened since.
        self._brought: set[str] = set()
        self._max_bytes = max_bytes
        self._models = directory / "models"
        self._incoming = directory / "incoming"
        self._locks = directory / "locks"
        for path in (self._models, self._incoming, self._locks):
            path.mkdir(parents=True, exist_ok=True)
        self._remove_abandoned()

    @property
    def max_bytes(self) -> int:
        """Most bytes in it."""
        return self._max_bytes

    def open(
        self, name: str, *, kind: str = PIPELINE, wait_seconds: float = LOCK_SECONDS
    ) -> ModelInUse:
        """Return a model, downloaded if it is not there, checked in any case.

        Args:
            name: The model's name.
            kind: What it must be.
            wait_seconds: How long to wait for another agent that downloads it, or uses files
                that turned out to be broken.

        Raises:
            TaskFailure: If it is not in the bucket, or not as its manifest says.
        """
        model = self._use(name, kind, wait_seconds)
        if model.directory.digest in self._brought:
            self._brought.discard(model.directory.digest)
            return replace(model, tier=S3)
        return model

    def fetch_ahead(self, name: str, *, kind: str = PIPELINE) -> ModelInUse:
        """Return a model that will be opened soon; whoever opens it learns where it was before.

        Waits for no other agent.

        Args:
            name: The model's name.
            kind: What it must be.

        Raises:
            TaskFailure: As `open` does, and if another agent downloads it.
        """
        return self._use(name, kind, 0.0)

    def _use(self, name: str, kind: str, wait_seconds: float) -> ModelInUse:
        manifest = self._source.manifest(name)
        check_kind(manifest, kind)
        if manifest.size > self._max_bytes:
            raise TaskFailure(
                "model-invalid",
                f"model {name!r} has {manifest.size} bytes, the cache holds {self._max_bytes}",
            )
        lock = self._locked_whole(name, manifest, wait_seconds)
        path = self._models / manifest.digest
        self._costs.use(path, seconds=_seconds(path), size=manifest.size)
        return ModelInUse(
            directory=ModelDirectory(name=name, digest=manifest.digest, path=path),
            defaults=manifest.defaults,
            _lock=lock,
        )

    def _locked_whole(self, name: str, manifest: ModelManifest, wait_seconds: float) -> int:
        """Return a shared lock on a model that is whole, after downloading it if need be."""
        deadline = time.monotonic() + wait_seconds
        while True:
            shared = self._try_lock(manifest.digest, fcntl.LOCK_SH)
            if shared is not None:
                if self._is_whole(manifest):
                    return shared
                os.close(shared)
            exclusive = self._try_lock(manifest.digest, fcntl.LOCK_EX)
            if exclusive is not None:
                try:
                    if not self._is_whole(manifest):
                        self._download(name, manifest)
                        self._brought.add(manifest.digest)
                finally:
                    os.close(exclusive)
            elif time.monotonic() >= deadline:
                break
            else:
                # Another agent downloads it, or uses what is broken.
                time.sleep(_LOCK_PAUSE_SECONDS)
        raise TaskFailure(
            "generation-failed", f"model {name!r}: its lock could not be had", transient=True
        )

    def _is_whole(self, manifest: ModelManifest) -> bool:
        directory = self._models / manifest.digest
        try:
            marker = json.loads((directory / _MARKER).read_text("utf-8"))
            return marker["digest"] == manifest.digest and all(
                (directory / file.path).stat().st_size == file.size for file in manifest.files
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _download(self, name: str, manifest: ModelManifest) -> None:
        while True:
            try:
                self._bring(name, manifest)
                return
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
                # The disk holds less than the cache may: others write there, too.
                if self._evict_cheapest():
                    continue
                raise TaskFailure(
                    "generation-failed",
                    f"model {name!r}: the disk has no room for its {manifest.size} bytes: "
                    f"{error.strerror}",
                    transient=True,
                ) from None

    def _bring(self, name: str, manifest: ModelManifest) -> None:
        target = self._models / manifest.digest
        incoming = self._incoming / manifest.digest
        _remove(target)
        _remove(incoming)
        self._reserve(incoming, manifest)
        began = self._clock()
        try:
            download(self._source, name, manifest.files, incoming)
            seconds = round(self._clock() - began, 3)
            marker = {
                "digest": manifest.digest,
                "size": manifest.size,
                "name": name,
                "seconds": seconds,
            }
            (incoming / _MARKER).write_text(json.dumps(marker), "utf-8")
            (incoming / _RESERVED).unlink()
            incoming.rename(target)
        except BaseException:
            _remove(incoming)
            raise
        _LOG.info("downloaded", extra={"model": name, "bytes": manifest.size, "seconds": seconds})

    def _reserve(self, incoming: Path, manifest: ModelManifest) -> None:
        """Make room for a model and claim it."""
        with self._alone():
            used = {path: _size(path) for path in self._directories()}
            for path in self._cheapest_first():
                if sum(used.values()) + manifest.size <= self._max_bytes:
                    break
                if self._evict(path):
                    del used[path]
            if sum(used.values()) + manifest.size > self._max_bytes:
                raise TaskFailure(
                    "generation-failed",
                    f"no room for {manifest.size} bytes: every model in the cache is in use",
                    transient=True,
                )
            incoming.mkdir()
            (incoming / _RESERVED).write_text(str(manifest.size), "ascii")

    def _cheapest_first(self) -> list[Path]:
        return sorted(self._models.iterdir(), key=self._costs.worth)

    def _evict_cheapest(self) -> bool:
        with self._alone():
            return any(self._evict(path) for path in self._cheapest_first())

    def _evict(self, path: Path) -> bool:
        lock = self._try_lock(path.name, fcntl.LOCK_EX)
        if lock is None:
            return False
        try:
            _LOG.info("evicted", extra={"digest": path.name})
            self._costs.remove(self._costs.worth(path))
            _remove(path)
            return True
        finally:
            os.close(lock)

    def _remove_abandoned(self) -> None:
        """Remove what a process that died has left."""
        for path in self._incoming.iterdir():
            lock = self._try_lock(path.name, fcntl.LOCK_EX)
            if lock is not None:
                _remove(path)
                os.close(lock)

    def _directories(self) -> Iterator[Path]:
        yield from self._models.iterdir()
        yield from self._incoming.iterdir()

    def _try_lock(self, name: str, kind: int) -> int | None:
        descriptor = os.open(self._locks / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self._locks / "room", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _size(path: Path) -> int:
    """Return the bytes that a directory of the cache has or has claimed."""
    for name, read in _SIZE_FILES:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return read((path / name).read_text("utf-8"))
    return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())


_SIZE_FILES: tuple[tuple[str, Callable[[str], int]], ...] = (
    (_MARKER, lambda text: int(json.loads(text)["size"])),
    (_RESERVED, int),
)


def _seconds(path: Path) -> float:
    """Return how long a model took to bring; 0 of one from before that was noted."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        return float(json.loads((path / _MARKER).read_text("utf-8"))["seconds"])
    return 0.0


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
