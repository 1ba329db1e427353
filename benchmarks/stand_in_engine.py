"""A process that speaks the engine's frames and whose GPU is a sleep.

Arguments: seconds of GPU time a task, width and height of its pictures, a file that gets a line
"begin end" for each task, and the two descriptors that the agent appends.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time

from cdk_stable_diffusion.contract.tiers import DISK
from cdk_stable_diffusion.runtime_image.frames import FrameReader, FrameWriter
from cdk_stable_diffusion.runtime_image.told_steps import ToldSteps

STEPS = 20


def picture(width: int, height: int) -> bytes:
    """Return the pixels of a picture that a PNG can hardly make smaller, as a photograph's."""
    return os.urandom(width * height * 3)


def run_gpu(seconds: float, on_step: object = None) -> tuple[float, float]:
    """Sleep as long as the GPU would work; return begin and end."""
    begin, told = time.monotonic(), ToldSteps()
    for step in range(STEPS):
        time.sleep(max(0.0, begin + seconds * (step + 1) / STEPS - time.monotonic()))
        if callable(on_step) and told.includes(step + 1, STEPS):
            on_step(step + 1)
    return begin, time.monotonic()


def _read(reader: FrameReader, commands: queue.SimpleQueue[dict[str, object]]) -> None:
    while (frame := reader.read()) is not None:
        commands.put(frame.header)
    os._exit(0)


def main() -> None:
    """Serve."""
    seconds, size, trace = float(sys.argv[1]), tuple(map(int, sys.argv[2].split("x"))), sys.argv[3]
    reader, writer = FrameReader(int(sys.argv[4])), FrameWriter(int(sys.argv[5]))
    commands: queue.SimpleQueue[dict[str, object]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(reader, commands), daemon=True).start()
    width, height = size
    pixels = picture(width, height)
    writer.write({"event": "ready"})
    with open(trace, "a", buffering=1) as lines:
        while True:
            header = commands.get()
            if header["command"] == "warm":
                continue
            answer = {"id": header["id"], "tier": DISK}
            if header["command"] == "generate":
                begin, end = run_gpu(
                    seconds,
                    lambda step, answer=answer: writer.write(
                        {**answer, "event": "step", "step": step, "steps": STEPS}
                    ),
                )
                lines.write(f"{begin} {end}\n")
                shape = {"width": width, "height": height}
                writer.write({**answer, "event": "picture", **shape, "seed": 1}, pixels)
                parameters = {**shape, "steps": STEPS, "guidance_scale": 1.0, "seed": 1}
                answer.update(parameters=parameters, software={"stand-in": "1"})
            writer.write({**answer, "event": "done"})


if __name__ == "__main__":
    main()
