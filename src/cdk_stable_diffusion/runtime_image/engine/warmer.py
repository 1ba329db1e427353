"""Having models read by another process while this one draws."""

from __future__ import annotations

import copy
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin

from .failure import EngineFailure
from .reading_ahead import MOST_BYTES, READY

_LOG = logging.getLogger(__name__)
CAN_READ_AHEAD = sys.platform == "linux"
"""Whether a process can give memory to another, as only Linux has it."""

LONGEST_READING_SECONDS = 120.0
"""How long a model that is to be drawn with is waited for; the agent gives loading 600 seconds."""

_MOST_WAITING = 4
_MODULE = f"{__package__}.reading_ahead"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A model that is to be read ahead.

    Attributes:
        directory: Its directory.
        digest: Identity of its weights.
    """

    directory: Path
    digest: str


def start_process() -> socket.socket:
    """Start the process that reads, and return the channel to it. It ends with the channel."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        subprocess.Popen(
            [sys.executable, "-m", _MODULE, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=2,
            env={
                **os.environ,
                "SD_AGENT_PROCESS": str(os.getpid()),
                # What it does is mostly to wait for the disk.
                "SD_ENGINE_THREADS": "1",
                # It would take some of the device's memory merely to look at it.
                "CUDA_VISIBLE_DEVICES": "",
            },
        )
    return ours


class Warmer:
    """Has models read, one after the other."""

    def __init__(
        self,
        *,
        in_half: bool,
        with_checker: bool,
        has_room: Callable[[Wanted], bool],
        put: Callable[[Wanted, Any, float], None],
        start: Callable[[], socket.socket] = start_process,
    ) -> None:
        """Prepare, without starting anything.

        Args:
            in_half: Whether to compute in 16 bits.
            with_checker: Whether to read the safety checkers of models.
            has_room: Asked before a model is read: whether it is to be.
            put: Called with a pipeline that was read and how many seconds it took.
            start: Starts what reads; called when it is needed. Default: a process.
        """
        self._settings = {"in_half": in_half, "with_checker": with_checker}
        self._has_room = has_room
        self._put = put
        self._start = start
        self._channel: socket.socket | None = None
        # Whatever waits behind so many was loaded by now, or is not needed soon.
        self._waiting: deque[Wanted] = deque(maxlen=_MOST_WAITING)
        self._reading: str | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def warm(self, wanted: Wanted) -> None:
        """Have a model read. Returns at once; from any thread.

        Args:
            wanted: The model.
        """
        with self._changed:
            if wanted not in self._waiting:
                self._waiting.append(wanted)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="warmer", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def leave(self, digest: str) -> None:
        """Have a model not read any more; if it is being read, wait until it is.

        That ends sooner than to begin again would, unless what reads it hangs: then it is given up.

        Args:
            digest: The model's digest.
        """
        with self._changed:
            for wanted in [each for each in self._waiting if each.digest == digest]:
                self._waiting.remove(wanted)
            if self._changed.wait_for(lambda: self._reading != digest, LONGEST_READING_SECONDS):
                return
            channel = self._channel
        _LOG.warning("what reads ahead hangs, and is given up")
        if channel is not None:
            with suppress(OSError):
                # Whoever waits there for an answer hears that there will be none.
                channel.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            try:
                self._read_next(self._ready_channel())
            except Exception:
                _LOG.warning("reading ahead has failed", exc_info=True)
                with self._changed:
                    # Without that there is nothing to wait for, whatever fails.
                    self._waiting.clear()
                    if self._channel is not None:
                        self._channel.close()
                        self._channel = None
            finally:
                with self._changed:
                    self._reading = None
                    self._changed.notify_all()

    def _ready_channel(self) -> socket.socket:
        if self._channel is None:
            self._channel = self._start()
            if self._channel.recv(MOST_BYTES) != READY:
                raise EOFError("the process that reads has ended")
        return self._channel

    def _read_next(self, channel: socket.socket) -> None:
        with self._changed:
            # It may have been loaded while the process started.
            wanted = self._waiting.popleft() if self._waiting else None
            if wanted is None:
                return
            self._reading = wanted.digest
        # It looks at the disk, for which nobody else shall wait.
        if not self._has_room(wanted):
            return
        request = {"directory": str(wanted.directory), **self._settings}
        channel.send(json.dumps(request).encode())
        answer, files, _, _ = socket.recv_fds(channel, MOST_BYTES, 1)
        try:
            if not answer:
                raise EOFError("the process that reads has ended")
            values = json.loads(answer)
            if not files:
                _LOG.info("a model was not read ahead: %s", values.get("failed"))
                return
            self._put(wanted, read_from(files[0]), values["seconds"])
        except EngineFailure as failure:
            _LOG.info("a model was not read ahead: %s", failure)
        finally:
            for file in files:
                os.close(file)


def read_from(memory: int) -> Any:
    """Return the pipeline that was written to memory.

    Its weights stay there, and so does the file until none of them is used.

    Args:
        memory: The descriptor of the file.
    """
    # It comes from a process of our own: no file of a model is ever read this way.
    pipeline = torch.load(
        f"/proc/self/fd/{memory}", mmap=True, map_location="cpu", weights_only=False
    )
    for name, part in pipeline.components.items():
        if isinstance(part, SchedulerMixin):
            # Its few numbers stay when the weights move, and would keep all of the file.
            setattr(pipeline, name, copy.deepcopy(part))
    return pipeline
