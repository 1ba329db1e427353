"""A process that speaks the engine's frames without torch; the prompt says what it does.

"sleep 2"   takes two seconds, in steps of 50 ms
"count F 2" likewise; where it is cancelled, writes to the file F at which step it heard of that,
            and at which it stopped
"refuse"    fails for good
"stall 2"   is nearly done at once, then takes two seconds more
"late 2"    makes a step, takes a second, is nearly done, and takes a second more
"random 2"  takes two seconds and draws differently each time
"noise"     prints to standard output before it answers

A word of `WAYS_TO_FAIL` is a way not to answer; "WORD once F" goes well if the file F exists, which
it makes.
"""

from __future__ import annotations

import os
import queue
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

from cdk_stable_diffusion.runtime_image.frames import FrameReader, FrameWriter

_commands: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
_cancelled: set[int] = set()
_step = 0
_heard_at: list[int] = []


def _read(reader: FrameReader) -> None:
    while (frame := reader.read()) is not None:
        if frame.header["command"] == "cancel":
            if frame.header["id"] not in _cancelled:
                _heard_at.append(_step)
            _cancelled.add(frame.header["id"])
        else:
            _commands.put(frame.header)
    os._exit(0)


def _signal_itself(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(3600)


def _break_off(descriptor: int) -> NoReturn:
    os.write(descriptor, struct.pack(">IQ", 2, 1_000_000) + b"{}" + bytes(1_000))
    os._exit(1)


def _babble(descriptor: int) -> None:
    os.write(descriptor, b"\xffTraceback (most recent call last)")
    time.sleep(3600)


def _go_mute(descriptor: int) -> None:
    os.close(descriptor)
    time.sleep(3600)


def _fail(writer: FrameWriter, identifier: int, code: str, detail: str, *, broken: bool) -> None:
    answer = {"code": code, "detail": detail, "transient": True, "broken": broken}
    writer.write({"id": identifier, "event": "failed", **answer})
    if broken:
        # It takes its time to end.
        time.sleep(3600)


WAYS_TO_FAIL: dict[str, Callable[[FrameWriter, int], None]] = {
    "die": lambda *_: _signal_itself(signal.SIGSEGV),
    "abort": lambda *_: _signal_itself(signal.SIGABRT),
    # What the kernel does where there is no memory left.
    "killed": lambda *_: _signal_itself(signal.SIGKILL),
    "stop": lambda *_: _signal_itself(signal.SIGSTOP),
    "exit": lambda *_: os._exit(1),
    "hang": lambda *_: time.sleep(3600),
    "break": lambda writer, identifier: _fail(
        writer, identifier, "generation-failed", "CUDA error", broken=True
    ),
    "memory": lambda writer, identifier: _fail(
        writer, identifier, "out-of-memory", "CUDA out of memory", broken=False
    ),
    "babble": lambda *_: _babble(int(sys.argv[-1])),
    "break-off": lambda *_: _break_off(int(sys.argv[-1])),
    "mute": lambda *_: _go_mute(int(sys.argv[-1])),
}


_DOES_SOMETHING = frozenset(
    {*WAYS_TO_FAIL, "sleep", "refuse", "stall", "late", "random", "noise", "count"}
)


def _generate(writer: FrameWriter, header: dict[str, Any]) -> None:
    """Draw for one task, or for several together, of which the worst decides what happens."""
    global _step
    identifier, orders = header["id"], header.get("orders") or [header]
    prompts: list[str] = [order["prompt"] for order in orders]
    known = [prompt for prompt in prompts if prompt.split()[0] in _DOES_SOMETHING]
    words = sorted(known or prompts, key=lambda prompt: prompt.startswith("sleep"))[0].split()
    way = WAYS_TO_FAIL.get(words[0])
    if way is not None and not (len(words) == 3 and Path(words[2]).exists()):
        if len(words) == 3:
            Path(words[2]).touch()
        way(writer, identifier)
        return
    if words[0] == "refuse":
        answer = {"code": "unsupported-request", "detail": "no", "transient": False}
        writer.write({"id": identifier, "event": "failed", **answer})
        return
    if words[0] == "noise":
        print("noise from a library", flush=True)
        os.write(1, b"\0\0\0\1 more noise")
    if words[0] == "stall":
        writer.write({"id": identifier, "event": "step", "step": 19, "steps": 20})
        time.sleep(float(words[1]))
    if words[0] == "late":
        for step in (1, 19):
            writer.write({"id": identifier, "event": "step", "step": step, "steps": 20})
            time.sleep(float(words[1]) / 2)
    takes_time = words[0] in ("sleep", "random", "count")
    steps = int(float(words[-1]) / 0.05) if takes_time else 1
    for step in range(steps):
        _step = step
        if steps > 1:
            time.sleep(0.05)
        if identifier in _cancelled:
            if words[0] == "count":
                Path(words[1]).write_text(f"{_heard_at[-1]} {step}")
            writer.write({"id": identifier, "event": "cancelled"})
            return
        writer.write({"id": identifier, "event": "step", "step": step + 1, "steps": steps})
    for place, order in enumerate(orders):
        for seed in order["seeds"]:
            picture = {"event": "picture", "width": 8, "height": 8, "seed": seed, "order": place}
            pixels = os.urandom(8 * 8 * 3) if words[0] == "random" else bytes(8 * 8 * 3)
            writer.write({"id": identifier, **picture}, pixels)
    most = min(steps, 150)
    values = {"width": 8, "height": 8, "steps": most, "guidance_scale": 1.0}
    parameters = [{**values, "seed": order["seeds"][0]} for order in orders]
    answer = {"event": "done", "parameters": parameters, "software": {"stand-in": "1"}}
    writer.write({"id": identifier, **answer})


def main() -> None:
    """Serve."""
    if "--die-at-start" in sys.argv:
        sys.exit(3)
    reader, writer = FrameReader(int(sys.argv[-2])), FrameWriter(int(sys.argv[-1]))
    threading.Thread(target=_read, args=(reader,), daemon=True).start()
    if "--import-forever-once" in sys.argv:
        flag = Path(sys.argv[sys.argv.index("--import-forever-once") + 1])
        if not flag.exists():
            flag.touch()
            time.sleep(3600)
    if "--import-forever" in sys.argv:
        time.sleep(3600)
    writer.write({"event": "ready"})
    held: dict[str, str] = {}
    while True:
        header = _commands.get()
        if header["command"] == "load":
            digest = header["digest"]
            tier = held.get(digest, "disk")
            if "--load-seconds" in sys.argv:
                # Then it keeps but one.
                time.sleep(float(sys.argv[sys.argv.index("--load-seconds") + 1]))
                held.clear()
            held[digest] = "gpu"
            writer.write({"event": "held", "held": held})
            writer.write({"id": header["id"], "event": "done", "tier": tier})
        elif header["command"] == "warm":
            held.setdefault(header["digest"], "memory")
            writer.write({"event": "held", "held": held})
        else:
            _generate(writer, header)


if __name__ == "__main__":
    main()
