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
from typing import Any, TextIO

from benchmarks.stand_in_engine import STEPS, run_gpu
from cdk_stable_diffusion.runtime_image.frames import FrameReader, FrameWriter

_SIDE = 8
"""As small as a picture may be: packing and storing it is not what is measured."""

GPU, MEMORY, DISK = "gpu", "memory", "disk"


class Held:
    """The models that the engine has, by their digests."""

    def __init__(self, disk_seconds: float, memory_seconds: float, in_memory: int) -> None:
        """Begin empty.

        Args:
            disk_seconds: How long a model takes from the disk to the GPU.
            memory_seconds: How long it takes from memory.
            in_memory: How many are kept there.
        """
        self._seconds = {GPU: 0.0, MEMORY: memory_seconds, DISK: disk_seconds}
        self._most = in_memory
        self._on_gpu = ""
        # The one that was not used for longest is the first.
        self._memory: list[str] = []
        self._lock = threading.Lock()

    def load(self, digest: str) -> str:
        """Bring a model to the GPU, and return where it was."""
        with self._lock:
            tier = self._tier(digest)
            time.sleep(self._seconds[tier])
            if tier == MEMORY:
                self._memory.remove(digest)
            if tier != GPU:
                if self._on_gpu:
                    self._memory.append(self._on_gpu)
                del self._memory[: max(0, len(self._memory) - self._most)]
                self._on_gpu = digest
            return tier

    def warm(self, digest: str) -> None:
        """Bring a model to memory, if there is room that no other has."""
        with self._lock:
            if self._tier(digest) == DISK and len(self._memory) < self._most:
                time.sleep(self._seconds[DISK] - self._seconds[MEMORY])
                self._memory.append(digest)

    def answer(self) -> dict[str, str]:
        """Return the models and where they are."""
        on_gpu = {self._on_gpu: GPU} if self._on_gpu else {}
        return {**dict.fromkeys(self._memory, MEMORY), **on_gpu}

    def _tier(self, digest: str) -> str:
        if digest == self._on_gpu:
            return GPU
        return MEMORY if digest in self._memory else DISK


def _read(reader: FrameReader, commands: queue.SimpleQueue[dict[str, Any]]) -> None:
    while (frame := reader.read()) is not None:
        commands.put(frame.header)
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
    held = Held(disk_seconds, memory_seconds, int(sys.argv[4]))
    reader, writer = FrameReader(int(sys.argv[6])), FrameWriter(int(sys.argv[7]))
    commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(reader, commands), daemon=True).start()
    writer.write({"event": "ready"})
    with open(sys.argv[5], "a", buffering=1) as trace:
        while True:
            header = commands.get()
            if header["command"] == "generate":
                _generate(writer, header, seconds, trace)
                continue
            answer = {"id": header["id"], "event": "done"}
            if header["command"] == "load":
                begin = time.monotonic()
                answer["tier"] = held.load(header["digest"])
                trace.write(f"load {answer['tier']} {begin} {time.monotonic()}\n")
                answer["held"] = held.answer()
            writer.write(answer)


if __name__ == "__main__":
    main()
