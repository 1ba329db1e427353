"""A process that speaks the engine's frames, and whose GPU and loads are sleeps.

It keeps one model on the GPU and some in memory, the last used ones. Arguments: seconds of a
picture, of a load from the disk, of a load from memory; how many models it keeps in memory; a file
that gets a line for each picture and load; and the two descriptors that the agent appends.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from typing import Any, Protocol, TextIO

from benchmarks.stand_in_engine import STEPS, run_gpu
from cdk_stable_diffusion.contract.tiers import DISK, GPU, MEMORY
from cdk_stable_diffusion.runtime_image.frames import FrameReader, FrameWriter

_SIDE = 8
"""As small as a picture may be: packing and storing it is not what is measured."""


class Listener(Protocol):
    """Who hears of what is held."""

    def write(self, header: dict[str, Any]) -> None:
        """Hear of it."""


class Held:
    """The models that the engine has, by their digests."""

    def __init__(
        self, writer: Listener, disk_seconds: float, memory_seconds: float, in_memory: int
    ) -> None:
        """Begin empty.

        Args:
            writer: Who hears of what there is.
            disk_seconds: How long a model takes from the disk to the GPU.
            memory_seconds: How long it takes from memory.
            in_memory: How many are kept there.
        """
        self._writer = writer
        self._seconds = {GPU: 0.0, MEMORY: memory_seconds, DISK: disk_seconds}
        self._most = in_memory
        self._on_gpu: str | None = None
        # The one that was not used for longest is the first.
        self._memory: list[str] = []
        self._reading: dict[str, threading.Event] = {}
        self._to_read: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lock = threading.Lock()
        threading.Thread(target=self._read, daemon=True).start()

    def load(self, digest: str) -> str:
        """Bring a model to the GPU, and return where it was."""
        if (reading := self._reading.get(digest)) is not None:
            reading.wait()
        with self._lock:
            tier = self._tier(digest)
            if digest in self._memory:
                self._memory.remove(digest)
            if self._on_gpu not in (None, digest):
                self._keep(self._on_gpu)
            self._on_gpu = digest
            self._tell()
        time.sleep(self._seconds[tier])
        return tier

    def warm(self, digest: str) -> None:
        """Bring a model to memory in its turn, where others make room for it."""
        if self._most:
            self._to_read.put(digest)

    def _read(self) -> None:
        while True:
            digest = self._to_read.get()
            with self._lock:
                if self._tier(digest) != DISK:
                    continue
                self._reading[digest] = threading.Event()
            time.sleep(self._seconds[DISK] - self._seconds[MEMORY])
            with self._lock:
                if self._tier(digest) == DISK:
                    self._keep(digest)
                self._reading.pop(digest).set()
                self._tell()

    def _keep(self, digest: str) -> None:
        self._memory.append(digest)
        del self._memory[: max(0, len(self._memory) - self._most)]

    def _tell(self) -> None:
        held = dict.fromkeys(self._memory, MEMORY)
        if self._on_gpu is not None:
            held[self._on_gpu] = GPU
        self._writer.write({"event": "held", "held": held})

    def _tier(self, digest: str) -> str:
        if digest == self._on_gpu:
            return GPU
        return MEMORY if digest in self._memory else DISK


class Commands:
    """What the agent asks for, in its order; what it wants no more is left out."""

    def __init__(self, reader: FrameReader, held: Held) -> None:
        """Prepare, without starting.

        Args:
            reader: Where commands come from.
            held: Told which model to warm.
        """
        self._reader = reader
        self._held = held
        self._commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def next(self) -> dict[str, Any]:
        """Wait for a command."""
        while (header := self._commands.get())["id"] in self._cancelled:
            pass
        return header

    def _read(self) -> None:
        while (frame := self._reader.read()) is not None:
            if frame.header["command"] == "warm":
                self._held.warm(frame.header["digest"])
            elif frame.header["command"] == "cancel":
                self._cancelled.add(frame.header["id"])
            else:
                self._commands.put(frame.header)
        os._exit(0)


def _generate(writer: FrameWriter, header: dict[str, Any], seconds: float, trace: TextIO) -> None:
    answer = {"id": header["id"]}

    def on_step(step: int) -> None:
        writer.write({**answer, "event": "step", "step": step, "steps": STEPS})

    begin, end = run_gpu(seconds, on_step)
    trace.write(f"draw - {begin} {end}\n")
    shape = {"width": _SIDE, "height": _SIDE}
    picture = {**answer, "event": "picture", **shape, "seed": 1}
    writer.write(picture, bytes(_SIDE * _SIDE * 3))
    parameters = {**shape, "steps": STEPS, "guidance_scale": 1.0, "seed": 1}
    writer.write(
        {**answer, "event": "done", "parameters": parameters, "software": {"stand-in": "1"}}
    )


def main() -> None:
    """Serve."""
    seconds, disk_seconds, memory_seconds = map(float, sys.argv[1:4])
    reader, writer = FrameReader(int(sys.argv[6])), FrameWriter(int(sys.argv[7]))
    held = Held(writer, disk_seconds, memory_seconds, int(sys.argv[4]))
    commands = Commands(reader, held)
    commands.start()
    writer.write({"event": "ready"})
    with open(sys.argv[5], "a", buffering=1) as trace:
        while True:
            header = commands.next()
            if header["command"] == "generate":
                _generate(writer, header, seconds, trace)
                continue
            begin = time.monotonic()
            tier = held.load(header["digest"])
            trace.write(f"load {tier} {begin} {time.monotonic()}\n")
            writer.write({"id": header["id"], "event": "done", "tier": tier})


if __name__ == "__main__":
    main()
