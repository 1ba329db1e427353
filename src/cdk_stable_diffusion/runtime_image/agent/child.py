"""The engine as a supervised child process.

A fault in a GPU driver takes the child, never the agent and its leases. The child ends when its
pipe closes, so that it cannot outlive the agent.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...contract import Parameters
from ...contract.tiers import GPU
from ..frames import BrokenFrames, Frame, FrameReader, FrameWriter
from ..told_steps import LONGEST_SILENCE_SECONDS
from .engine import (
    AssetDirectory,
    Drawing,
    EngineCancelled,
    EngineHealth,
    Generation,
    ModelDirectory,
    OnStep,
    Raster,
)
from .failure import TaskFailure
from .orphans import Orphans

_LOG = logging.getLogger(__name__)

ENGINE_COMMAND = (sys.executable, "-m", "cdk_stable_diffusion.runtime_image.engine")
_LONGEST_PAUSE_SECONDS = 30.0
_GOODBYE_SECONDS = 1.0
_KILL_SECONDS = 10.0
"""Longest that the kernel may take; a driver that hangs can keep a process for good."""

_MISSED_STEPS = 3
"""After as many steps' time without one the engine does not work any more."""

_LEAST_CANCEL_SECONDS = 2.0
_IMPORT_SECONDS = 300.0
# A picture fits, so that the GPU need not wait until the agent has read it; and so do the longest
# prompts of many tasks, so that the agent need not wait for an engine that hangs.
_PIPE_BYTES = 1 << 20


class ChildEngine:
    """An `Engine` in a child process, which is replaced when it dies or hangs."""

    def __init__(
        self, command: Sequence[str] = ENGINE_COMMAND, *, import_seconds: float = _IMPORT_SECONDS
    ) -> None:
        """Prepare, without starting.

        Args:
            command: What to run; the descriptors to read from and write to are appended.
                Default: the engine of this package.
            import_seconds: Longest that a child may take until it is ready; then it is replaced.
                Default: 300.
        """
        self._command = tuple(command)
        self._import_seconds = import_seconds
        self._child: _Child | None = None
        self._closed = False
        self._identifiers = itertools.count(1)
        self._generating: int | None = None
        self._ahead: _Ahead | None = None
        self._orphans = Orphans()
        self._deaths_at_start = 0
        self._not_before = 0.0
        self._model: str | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the child if none is running; returns before it is ready."""
        with self._lock:
            if self._closed or (self._child is not None and self._child.running):
                return
            if self._child is not None:
                self._child.end(0.0)
                self._orphans.inherit(self._child.process.pid)
            # Those of the child before may take a moment longer than it to end.
            self._orphans.bury()
            self._child = _Child(self._command)
            self._model = None

    def wait_until_ready(self, timeout: float) -> bool:
        """Wait until the child can take commands, starting it where that is needed.

        Args:
            timeout: Most seconds to wait.

        Returns:
            Whether it can.
        """
        deadline = time.monotonic() + timeout
        while not self._closed and (remaining := deadline - time.monotonic()) > 0:
            child = self._child
            if child is None or not child.running:
                pause = self._not_before - time.monotonic()
                if pause > 0:
                    time.sleep(min(pause, remaining, 0.1))
                else:
                    self.start()
            elif child.changed(min(remaining, self._import_left(child))):
                if child.ready.is_set():
                    self._deaths_at_start = 0
                    return True
                self._died(child)
            elif self._import_left(child) <= 0:
                _LOG.error("engine was not ready within %.0f s", self._import_seconds)
                child.kill()
                self._died(child)
        return False

    def load(self, model: ModelDirectory, *, timeout: float) -> str:
        """Make a model the one to draw with; does nothing if it is already.

        Args:
            model: The model.
            timeout: Most seconds that it may take.

        Returns:
            Where it was.

        Raises:
            TaskFailure: If that is impossible.
        """
        if self.health().model == model.digest:
            return GPU
        self._model = None
        self._forget_what_is_ahead()
        child, identifier = self._running_child(), next(self._identifiers)
        child.send({"command": "load", "id": identifier, **_files(model)}, b"")
        for frame in _Events(self, child, identifier, timeout):
            if frame.header["event"] == "done":
                self._model = model.digest
                return str(frame.header["tier"])
        raise AssertionError("unreachable: a command ends with an event")

    def warm(self, model: ModelDirectory) -> None:
        """Have a model read into the host's memory that is to be loaded soon.

        Args:
            model: The model.
        """
        child = self._child
        if child is not None and child.running and model.digest not in child.held:
            # An answer is for nobody: what is held is told of by itself.
            child.send({"command": "warm", **_files(model)}, b"")

    def generate(
        self, generation: Generation, *, timeout: float, on_step: OnStep | None = None
    ) -> Drawing:
        """Draw with the loaded model.

        Args:
            generation: What to draw.
            timeout: Most seconds that it may take; then the child is replaced.
            on_step: Called after steps: the first, the last, one shortly before it, and others.

        Returns:
            The pictures.

        Raises:
            TaskFailure: If that is impossible.
            EngineCancelled: If `cancel` was called.
        """
        return self._generate((generation,), timeout, on_step)[0]

    def generate_together(
        self,
        generations: Sequence[Generation],
        *,
        timeout: float,
        on_step: OnStep | None = None,
    ) -> tuple[Drawing, ...]:
        """Draw for several tasks in one pass.

        Args:
            generations: What to draw; they differ in prompts, seeds and number of pictures alone.
            timeout: Most seconds that it may take; then the child is replaced.
            on_step: Called after steps: the first, the last, one shortly before it, and others.

        Returns:
            The pictures of each.

        Raises:
            TaskFailure: If that is impossible, for all of them.
            EngineCancelled: If `cancel` was called.
        """
        return self._generate(tuple(generations), timeout, on_step)

    def prepare(self, generations: Sequence[Generation]) -> None:
        """Send what is asked for next, so that the child need not wait for it.

        Args:
            generations: What to draw; none to forget what was prepared before.
        """
        self._forget_what_is_ahead()
        child = self._child
        if generations and child is not None and child.running:
            self._ahead = _Ahead(child, next(self._identifiers), tuple(generations))
            child.send(*_command(self._ahead.identifier, self._ahead.generations))

    def cancel(self) -> None:
        """Stop what is being drawn within one step, if there is anything."""
        identifier, child = self._generating, self._child
        if identifier is not None and child is not None:
            child.write({"command": "cancel", "id": identifier})

    def health(self) -> EngineHealth:
        """Tell how it is, without waiting."""
        child = self._child
        running = child is not None and child.running
        return EngineHealth(
            running=running,
            ready=running and child is not None and child.ready.is_set(),
            model=self._model if running else None,
            held=child.held if running and child is not None else {},
        )

    @property
    def process_id(self) -> int | None:
        """The child's process id, for logs and tests."""
        return self._child.process.pid if self._child else None

    def close(self) -> None:
        """End the child, at once."""
        with self._lock:
            self._closed = True
            child = self._child
        if child is not None:
            child.end(_GOODBYE_SECONDS)

    def _generate(
        self, generations: tuple[Generation, ...], timeout: float, on_step: OnStep | None
    ) -> tuple[Drawing, ...]:
        child, ahead = self._running_child(), self._ahead
        if ahead is not None and (ahead.child, ahead.generations) == (child, generations):
            self._ahead = None
            self._generating = identifier = ahead.identifier
        else:
            self._forget_what_is_ahead()
            self._generating = identifier = next(self._identifiers)
            child.send(*_command(identifier, generations))
        return _drawings(_Events(self, child, identifier, timeout), on_step)

    def _forget_what_is_ahead(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None:
            # Its answers are for nobody then.
            ahead.child.write({"command": "cancel", "id": ahead.identifier})

    def _running_child(self) -> _Child:
        child = self._child
        if child is None or not child.running:
            raise TaskFailure("generation-failed", "the engine is not running", transient=True)
        return child

    def _import_left(self, child: _Child) -> float:
        return max(0.0, child.started + self._import_seconds - time.monotonic())

    def _replace(self, child: _Child) -> str:
        """Start another child in place of one, and say what became of that one."""
        how = self._died(child)
        self.start()
        return how

    def _died(self, child: _Child) -> str:
        """Clean up after a child and say what became of it."""
        how = child.end(_GOODBYE_SECONDS)
        self._model = None
        if not child.ready.is_set():
            self._deaths_at_start += 1
            pause = min(_LONGEST_PAUSE_SECONDS, 0.5 * 2**self._deaths_at_start)
            self._not_before = time.monotonic() + pause
        if not self._closed:
            _LOG.error("engine ended: %s", how)
        return how


def _files(model: ModelDirectory) -> dict[str, str]:
    return {"directory": str(model.path), "digest": model.digest}


def _assets(*assets: AssetDirectory) -> list[dict[str, Any]]:
    return [
        {
            "name": each.name,
            "digest": each.digest,
            "directory": str(each.path),
            "weight": each.weight,
        }
        for each in assets
    ]


class _Events:
    """The answers to one command, up to the one that ends it."""

    def __init__(
        self,
        engine: ChildEngine,
        child: _Child,
        identifier: int,
        timeout: float,
    ) -> None:
        self._engine = engine
        self._child = child
        self._id = identifier
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._ended = False
        self._began = self._last_step = time.monotonic()
        self._steps = 0
        self._too_long = False

    def __iter__(self) -> _Events:
        return self

    def __next__(self) -> Frame:
        if self._ended:
            raise StopIteration
        while True:
            frame = self._next_frame()
            if frame.header.get("id") != self._id:
                continue
            event = frame.header["event"]
            if event == "step":
                self._steps, self._last_step = frame.header["step"], time.monotonic()
            if event in ("done", "failed", "cancelled"):
                self._end()
            if event == "cancelled" and self._too_long:
                # It worked until the end, so another try would take as long.
                raise TaskFailure(
                    "deadline-exceeded",
                    f"took longer than {self._timeout:.0f} s, with {self._steps} steps done",
                )
            if event == "failed":
                if frame.header.get("broken"):
                    # It is about to end, and no other task shall meet it until then.
                    self._engine._replace(self._child)
                raise TaskFailure(
                    frame.header["code"],
                    frame.header["detail"],
                    transient=frame.header["transient"],
                )
            return frame

    def _next_frame(self) -> Frame:
        try:
            frame = self._child.frames.get(timeout=max(0.0, self._deadline - time.monotonic()))
        except queue.Empty:
            if self._works() and not self._too_long:
                # Stopped within a step, it keeps its model for the next task.
                self._too_long = True
                self._deadline += max(_LEAST_CANCEL_SECONDS, _MISSED_STEPS * self._step_seconds())
                self._engine.cancel()
                return self._next_frame()
            self._end()
            self._child.kill()
            self._engine._replace(self._child)
            raise TaskFailure(
                "deadline-exceeded",
                f"took longer than {self._timeout:.0f} s; the engine was replaced",
                transient=True,
            ) from None
        if frame is None:
            self._end()
            how = self._engine._replace(self._child)
            raise TaskFailure("generation-failed", f"the engine ended: {how}", transient=True)
        return frame

    def _works(self) -> bool:
        """Tell whether it is still making its steps, and merely has too many of them."""
        silent = time.monotonic() - self._last_step
        # Quick steps are not all told of.
        patience = LONGEST_SILENCE_SECONDS + _MISSED_STEPS * self._step_seconds()
        return self._steps > 0 and silent < patience

    def _step_seconds(self) -> float:
        return (self._last_step - self._began) / max(1, self._steps)

    def _end(self) -> None:
        self._ended = True
        self._engine._generating = None


@dataclass(frozen=True, slots=True)
class _Ahead:
    """What a child has been sent before anybody asked for it."""

    child: _Child
    identifier: int
    generations: tuple[Generation, ...]


class _Child:
    """One run of the engine's process."""

    def __init__(self, command: tuple[str, ...]) -> None:
        from_agent, to_engine = os.pipe()
        from_engine, to_agent = os.pipe()
        with contextlib.suppress(OSError, AttributeError):
            # What Linux alone can do, and as much as it lets an ordinary user.
            for pipe in (from_engine, from_agent):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        try:
            self.process = subprocess.Popen(
                [*command, str(from_agent), str(to_agent)],
                pass_fds=(from_agent, to_agent),
                stdin=subprocess.DEVNULL,
                # Whatever a library prints goes to the log; nothing but frames is in the pipe.
                stdout=2,
                # Ctrl-C in a terminal is for the agent, which then decides about its child.
                start_new_session=True,
                env={**os.environ, "SD_AGENT_PROCESS": str(os.getpid())},
            )
        except BaseException:
            os.close(from_engine)
            os.close(to_engine)
            raise
        finally:
            os.close(from_agent)
            os.close(to_agent)
        self.frames: queue.SimpleQueue[Frame | None] = queue.SimpleQueue()
        self.started = time.monotonic()
        self.ready = threading.Event()
        self.held: dict[str, str] = {}
        self._changed = threading.Event()
        self._writer = FrameWriter(to_engine)
        self._ended = threading.Event()
        threading.Thread(
            target=self._read, args=(FrameReader(from_engine),), name="engine-reader", daemon=True
        ).start()

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    def changed(self, timeout: float) -> bool:
        """Wait until it is ready or has ended."""
        return self._changed.wait(timeout)

    def send(self, header: dict[str, Any], payload: bytes) -> None:
        """Write a command, without waiting for a child that does not read."""
        if not payload:
            self.write(header)
            return
        # It may be more than the pipe holds, and the deadline must come even so.
        threading.Thread(
            target=self.write, args=(header, payload), name="engine-writer", daemon=True
        ).start()

    def write(self, header: dict[str, Any], payload: bytes = b"") -> None:
        try:
            self._writer.write(header, payload)
        except OSError:
            # Its end shows in the frames, where the reader of the answers waits for it.
            return

    def kill(self) -> None:
        self.process.kill()

    def end(self, grace: float) -> str:
        """Close the pipe, which ends the child; kill it if it does not. Say how it ended."""
        self._writer.close()
        try:
            status = self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            try:
                status = self.process.wait(_KILL_SECONDS)
            except subprocess.TimeoutExpired:
                self._ended.set()
                return "not, though it was killed"
        self._ended.set()
        if status < 0:
            return f"by signal {signal.Signals(-status).name}"
        return f"with exit status {status}"

    def _read(self, reader: FrameReader) -> None:
        try:
            while (frame := reader.read()) is not None:
                if frame.header.get("event") == "ready":
                    self.ready.set()
                    self._changed.set()
                elif frame.header.get("event") == "held":
                    self.held = frame.header["held"]
                else:
                    self.frames.put(frame)
        except (BrokenFrames, OSError) as error:
            _LOG.error("engine's pipe: %s", error)
        finally:
            reader.close()
            self._ended.set()
            self.frames.put(None)
            self._changed.set()


def _command(identifier: int, generations: tuple[Generation, ...]) -> tuple[dict[str, Any], bytes]:
    """Return the command to draw, and the files that go with it."""
    first, *others = generations
    if others:
        orders = list(map(_order, generations))
        return {"command": "generate_together", "id": identifier, "orders": orders}, b""
    header = {"command": "generate", "id": identifier, **_order(first)}
    return header, b"".join(first.inputs.values())


def _order(generation: Generation) -> dict[str, Any]:
    """Return what a command says of what to draw."""
    return {
        "prompt": generation.prompt,
        "negative_prompt": generation.negative_prompt,
        "seeds": list(generation.seeds),
        "width": generation.width,
        "height": generation.height,
        "steps": generation.steps,
        "guidance_scale": generation.guidance_scale,
        "scheduler": generation.scheduler,
        "task_type": generation.task_type,
        "strength": generation.strength,
        "scale": generation.scale,
        "max_input_pixels": generation.max_input_pixels,
        "adapters": _assets(*generation.adapters),
        "embeddings": _assets(*generation.embeddings),
        "vae": _assets(*([generation.vae] if generation.vae else [])),
        "control_scale": generation.control_scale,
        "clip_skip": generation.clip_skip,
        "inputs": {name: len(data) for name, data in generation.inputs.items()},
    }


def _drawings(events: Iterable[Frame], on_step: OnStep | None) -> tuple[Drawing, ...]:
    """Return what was drawn for each order of a command."""
    pictures: dict[int, list[Raster]] = defaultdict(list)
    for frame in events:
        event = frame.header
        if event["event"] == "step" and on_step is not None:
            on_step(event["step"], event["steps"])
        elif event["event"] == "picture":
            pictures[event.get("order", 0)].append(
                Raster(
                    width=event["width"],
                    height=event["height"],
                    seed=event["seed"],
                    pixels=frame.payload,
                )
            )
        elif event["event"] == "cancelled":
            raise EngineCancelled
        elif event["event"] == "done":
            parameters = event["parameters"]
            return tuple(
                Drawing(
                    pictures=tuple(pictures[order]),
                    parameters=Parameters.from_dict(values),
                    software=event["software"],
                    most_pictures=event.get("most_pictures"),
                )
                for order, values in enumerate(
                    parameters if isinstance(parameters, list) else [parameters]
                )
            )
    raise AssertionError("unreachable: a command ends with an event")
