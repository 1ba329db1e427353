"""Bringing the files of a model to the disk, in one pass.

Parts of all files come at the same time, and each is written where it belongs as it comes. Behind
the parts, the checksum of a file follows: in order, as far as the file is there without a gap. It
is taken of what the disk gives back, from memory still, so that it is of what will be loaded.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path

from ...contract import ModelFile
from .failure import TaskFailure
from .model_source import ModelSource

_LOG = logging.getLogger(__name__)
_PART_BYTES = 16 << 20
_PARTS_AT_ONCE = 20
"""AWS says to ask for 8 to 16 MB at a time, and at once for as many as the network takes of 85 to
90 MB/s each: 15 of them for 10 Gbit/s.
"""

_CHECKS_AT_ONCE = 4
_CHECKED_AT_ONCE_BYTES = 256 << 10
_TRIES = 2


def download(source: ModelSource, name: str, files: Sequence[ModelFile], directory: Path) -> None:
    """Bring files to the disk and check them.

    Args:
        source: Where they come from.
        name: The model's name.
        files: The files, from its manifest.
        directory: The folder for them.

    Raises:
        TaskFailure: If one is not there, or stays other than its manifest says.
        OSError: If the disk or the network fails.
    """
    # Largest first: its checksum takes longest, and the small ones fill the gaps at the end.
    left = sorted(files, key=lambda file: -file.size)
    for attempt in range(1, _TRIES + 1):
        faults = _Pass(source, name, left, directory).run()
        for file, fault in faults:
            _LOG.warning("model %r: %s %s", name, file.path, fault)
            if attempt == _TRIES:
                raise TaskFailure("model-invalid", f"model {name!r}: {file.path} {fault}")
        left = [file for file, _ in faults]


class _Pass:
    """One try to bring some files."""

    def __init__(
        self, source: ModelSource, name: str, files: Sequence[ModelFile], directory: Path
    ) -> None:
        self._source = source
        self._name = name
        self._arriving = [_Arriving(file, directory / file.path) for file in files]

    def run(self) -> list[tuple[ModelFile, str]]:
        """Bring the files, and return those that are wrong with what is wrong."""
        parts = [(each, start) for each in self._arriving for start in each.starts]
        fetching = ThreadPoolExecutor(_PARTS_AT_ONCE, "download")
        checking = ThreadPoolExecutor(_CHECKS_AT_ONCE, "check")
        try:
            work = [fetching.submit(self._fetch, *part) for part in parts]
            work += [checking.submit(each.check) for each in self._arriving]
            for done in wait(work, return_when=FIRST_EXCEPTION).done:
                done.result()
        finally:
            for each in self._arriving:
                each.give_up()
            fetching.shutdown(cancel_futures=True)
            checking.shutdown(cancel_futures=True)
        return [(each.file, each.fault) for each in self._arriving if each.fault]

    def _fetch(self, arriving: _Arriving, start: int) -> None:
        end = min(start + _PART_BYTES, arriving.file.size)
        at = start
        with arriving.path.open("r+b", buffering=0) as target:
            for piece in self._source.read_range(self._name, arriving.file, start, end):
                if arriving.is_given_up:
                    return
                _write(target.fileno(), piece, at)
                at += len(piece)
        arriving.has_part(start, at, is_short=at < end)


class _Arriving:
    """A file that is on its way."""

    def __init__(self, file: ModelFile, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        self.file = file
        self.path = path
        self.starts = range(0, file.size, _PART_BYTES)
        self.is_given_up = False
        self._changed = threading.Condition()
        # End of each part that is there, by its start; and how far there is no gap.
        self._parts: dict[int, int] = {}
        self._whole_to = 0
        self._bytes = 0
        self._is_short = False
        # Whatever was not checked is wrong.
        self._sha256 = ""

    @property
    def fault(self) -> str:
        """What is wrong with it, once all its parts have come; empty if nothing is."""
        if self._is_short:
            return f"has {self._bytes} bytes instead of {self.file.size}"
        if self._sha256 != self.file.sha256:
            return f"has SHA-256 {self._sha256} instead of {self.file.sha256}"
        return ""

    def has_part(self, start: int, end: int, *, is_short: bool) -> None:
        """Note that a part is there."""
        with self._changed:
            self._bytes += end - start
            self._is_short = self._is_short or is_short
            self._parts[start] = end
            while self._whole_to in self._parts:
                self._whole_to = self._parts.pop(self._whole_to)
            self._changed.notify_all()

    def give_up(self) -> None:
        """Let nobody wait for the rest, or write more."""
        with self._changed:
            self.is_given_up = True
            self._changed.notify_all()

    def check(self) -> None:
        """Take its checksum as it comes, unless it turns out to be too short."""
        digest = hashlib.sha256()
        buffer = memoryview(bytearray(min(_CHECKED_AT_ONCE_BYTES, self.file.size)))
        checked = 0
        with self.path.open("rb", buffering=0) as target:
            while checked < self.file.size:
                whole_to = self._wait_for_more(checked)
                if whole_to is None:
                    return
                while checked < whole_to:
                    read = os.preadv(target.fileno(), [buffer[: whole_to - checked]], checked)
                    if not read:
                        raise OSError(errno.EIO, f"{self.path} was changed")
                    digest.update(buffer[:read])
                    checked += read
        self._sha256 = digest.hexdigest()

    def _wait_for_more(self, checked: int) -> int | None:
        """Wait, and return how far there is no gap; None if there will be no more."""
        with self._changed:
            while self._whole_to <= checked:
                if self._is_short or self.is_given_up:
                    return None
                self._changed.wait()
            return self._whole_to


def _write(descriptor: int, piece: bytes, at: int) -> None:
    rest = memoryview(piece)
    while rest:
        written = os.pwrite(descriptor, rest, at)
        at, rest = at + written, rest[written:]
