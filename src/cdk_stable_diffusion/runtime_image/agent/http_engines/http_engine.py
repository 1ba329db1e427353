"""What engines in another container have in common.

They are watched: one that is gone must have its model loaded again when it is back. Work that shall
stop is interrupted, and an engine that does not heed that is replaced by Kubernetes, since the
agent cannot end a process of another container: it leaves a mark that the container's liveness
probe looks for.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ....contract.tiers import DISK, GPU
from ..engine import Drawing, EngineCancelled, EngineHealth, Generation, ModelDirectory, OnStep
from ..failure import TaskFailure
from .client import ErrorAnswer, HttpClient, Unreachable
from .shared import SharedDirectory

_LOG = logging.getLogger(__name__)
_WATCH_SECONDS = 0.5
"""Less than any engine takes to start, so that one that was replaced is missed for a while."""
_LOOK_SECONDS = 0.1
_ANSWER_SECONDS = 5.0
_INTERRUPT_SECONDS = 15.0
_SILENT_SECONDS = 120.0
_AGAIN_SECONDS = 1.0
_BROKEN_DEVICE = ("CUDA error", "CUDNN_STATUS", "CUBLAS_STATUS")
_OUT_OF_MEMORY = ("out of memory", "OutOfMemoryError")

_UNDERSTOOD = frozenset(
    {
        "prompt",
        "negative_prompt",
        "seeds",
        "width",
        "height",
        "steps",
        "guidance_scale",
        "scheduler",
        "task_type",
        "inputs",
        "strength",
        "scale",
        "max_input_pixels",
    }
)


class HttpEngine(ABC):
    """An `Engine` in another container of the pod."""

    name: str

    def __init__(
        self,
        url: str,
        directory: Path,
        *,
        interrupt_seconds: float = _INTERRUPT_SECONDS,
        silent_seconds: float = _SILENT_SECONDS,
    ) -> None:
        """Prepare, without asking it anything.

        Args:
            url: Where it listens.
            directory: The directory that is shared with it.
            interrupt_seconds: Longest that it may take to stop; then it is replaced. Default: 15.
            silent_seconds: Longest that it may give no answer while it has nothing to do; then it
                is replaced. Default: 120.
        """
        self._client = HttpClient(url)
        self._shared = SharedDirectory(directory)
        self._interrupt_seconds = interrupt_seconds
        self._silent_seconds = silent_seconds
        self._model: ModelDirectory | None = None
        self._running = False
        self._ready = False
        self._busy = False
        self._drawing = False
        self._unwanted_since: float | None = None
        self._away_because: str | None = None
        self._cancelled = threading.Event()
        self._closed = threading.Event()
        self._looking = threading.Lock()
        self._watch = threading.Thread(target=self._keep_watch, name="engine-watch", daemon=True)

    def start(self) -> None:
        """Begin to watch it; Kubernetes starts it."""
        if not self._watch.is_alive() and not self._closed.is_set():
            self._watch.start()

    def wait_until_ready(self, timeout: float) -> bool:
        """Wait until it answers and has nothing to do.

        Args:
            timeout: Most seconds to wait.

        Returns:
            Whether it can take commands.
        """
        deadline = time.monotonic() + timeout
        while not self._closed.is_set():
            if self._look():
                return True
            if not self._pause_until(deadline):
                break
        return False

    def load(self, model: ModelDirectory, *, timeout: float) -> str:
        """Make a model the one to draw with; does nothing if it is already.

        Args:
            model: The model.
            timeout: Most seconds that it may take.

        Returns:
            Where it was, as far as this can know: on the GPU if it is the one it draws with.

        Raises:
            TaskFailure: If that is impossible.
        """
        if self.health().model == model.digest:
            return GPU
        self._model = None
        with self._at_work():
            self._load(model, time.monotonic() + timeout)
        self._model = model
        return DISK

    def warm(self, model: ModelDirectory) -> None:
        """Do nothing: which models it keeps is up to the engine.

        Args:
            model: A model that is to be loaded soon.
        """
        del model

    def generate(
        self, generation: Generation, *, timeout: float, on_step: OnStep | None = None
    ) -> Drawing:
        """Draw with the loaded model.

        Args:
            generation: What to draw.
            timeout: Most seconds that it may take; then it is interrupted.
            on_step: Called after each step, as far as the engine tells.

        Returns:
            The pictures.

        Raises:
            TaskFailure: If that is impossible.
            EngineCancelled: If `cancel` was called.
        """
        model = self._model
        if model is None:
            raise TaskFailure("generation-failed", "no model is loaded", transient=True)
        self._refuse_unknown(generation)
        with self._at_work():
            self._drawing = True
            try:
                return self._draw(generation, time.monotonic() + timeout, on_step or _nothing)
            finally:
                self._drawing = False

    def generate_together(
        self,
        generations: Sequence[Generation],
        *,
        timeout: float,
        on_step: OnStep | None = None,
    ) -> tuple[Drawing, ...]:
        """Draw for several tasks, one after the other.

        Args:
            generations: What to draw.
            timeout: Most seconds that all may take.
            on_step: Called after each step, with the number of those of all.

        Returns:
            The pictures of each.

        Raises:
            TaskFailure: If that is impossible.
            EngineCancelled: If `cancel` was called.
        """
        deadline = time.monotonic() + timeout
        count = len(generations)
        return tuple(
            self.generate(
                generation,
                timeout=deadline - time.monotonic(),
                on_step=part_of(on_step or _nothing, index, count),
            )
            for index, generation in enumerate(generations)
        )

    def prepare(self, generations: Sequence[Generation]) -> None:
        """Do nothing: what is asked for next comes soon enough over HTTP.

        Args:
            generations: What is asked for next.
        """
        del generations

    def cancel(self) -> None:
        """Stop the running `generate` within one step, if there is one."""
        # Who loads a model is not asked to stop: no engine heeds that, and it would be replaced.
        if self._drawing:
            self._cancelled.set()

    def health(self) -> EngineHealth:
        """Tell how it is, without waiting."""
        model = self._model
        return EngineHealth(
            running=self._running,
            ready=self._running and (self._ready or self._busy),
            model=model.digest if model is not None else None,
            held={model.digest: GPU} if model is not None else {},
        )

    def close(self) -> None:
        """Let go of it; Kubernetes ends it after the agent."""
        self._closed.set()
        if self._busy:
            self._try_to_interrupt(1.0)
        self._client.close()

    @abstractmethod
    def _is_idle(self, timeout: float) -> bool:
        """Ask it whether it has nothing to do."""

    @abstractmethod
    def _load(self, model: ModelDirectory, deadline: float) -> None:
        """Make a model the one to draw with."""

    @abstractmethod
    def _draw(self, generation: Generation, deadline: float, on_step: OnStep) -> Drawing:
        """Draw."""

    @abstractmethod
    def _interrupt(self, timeout: float) -> None:
        """Ask it to stop what it does."""

    def _refuse(self, detail: str) -> NoReturn:
        raise TaskFailure("unsupported-request", f"{self.name}: {detail}")

    def _lost(self, error: Unreachable) -> TaskFailure:
        self._running = False
        return TaskFailure("generation-failed", f"{self.name} was lost: {error}", transient=True)

    def _broke(self, detail: str) -> TaskFailure:
        """Return the failure of an engine that tried and could not."""
        text = f"{self.name}: {detail}"
        if any(word in detail for word in _OUT_OF_MEMORY):
            return TaskFailure("out-of-memory", text, transient=True)
        if any(word in detail for word in _BROKEN_DEVICE):
            # Only a new process gets out of that.
            self._have_replaced()
        return TaskFailure("generation-failed", text, transient=True)

    def _check(self, deadline: float, ended: Callable[[float], bool]) -> None:
        """Stop the running work if it shall not go on.

        Args:
            deadline: When it must have ended.
            ended: Waits for its end for some seconds; tells whether it has come.
        """
        if self._closed.is_set():
            raise EngineCancelled
        late = time.monotonic() >= deadline
        if not late and not self._cancelled.is_set():
            return
        stopped = self._stop(ended)
        if self._closed.is_set() or self._cancelled.is_set():
            raise EngineCancelled
        how = "was interrupted" if stopped else "did not stop and is replaced"
        raise TaskFailure(
            "deadline-exceeded", f"took too long; {self.name} {how}", transient=True
        ) from None

    def _stop(self, ended: Callable[[float], bool]) -> bool:
        until = time.monotonic() + self._interrupt_seconds
        while not self._closed.is_set() and (left := until - time.monotonic()) > 0:
            # An interruption that comes between two jobs is lost.
            self._try_to_interrupt(min(_ANSWER_SECONDS, left))
            if ended(min(_AGAIN_SECONDS, left)):
                return True
        self._have_replaced()
        return False

    def _try_to_interrupt(self, timeout: float) -> None:
        try:
            self._interrupt(timeout)
        except (Unreachable, ErrorAnswer) as error:
            _LOG.warning("%s could not be interrupted: %s", self.name, error)

    def _have_replaced(self) -> None:
        if not self._closed.is_set():
            _LOG.error("%s is replaced", self.name)
            self._shared.ask_for_replacement()
            self._ready = False
            self._model = None

    def _at_work(self) -> _AtWork:
        return _AtWork(self)

    def _keep_watch(self) -> None:
        while not self._closed.wait(_WATCH_SECONDS):
            try:
                self._look()
            except Exception:
                _LOG.exception("watching broke")

    def _look(self) -> bool:
        """Ask how it is; tell whether it can take a command."""
        # No work begins meanwhile, which an interruption from here would hit.
        with self._looking:
            if self._busy:
                return False
            try:
                idle = self._is_idle(_ANSWER_SECONDS)
            except (Unreachable, ErrorAnswer) as error:
                self._is_away(error)
                return False
            self._running = True
            if self._shared.replacement_asked:
                # It is still the one that shall go, be it idle or not.
                self._ready = False
                return False
            if idle:
                self._unwanted_since = None
                self._ready = True
                return True
            self._is_unwanted(self._interrupt_seconds)
            # It does what an agent before this one has left, say.
            self._try_to_interrupt(_ANSWER_SECONDS)
            return False

    def _is_away(self, error: Unreachable | ErrorAnswer) -> None:
        if isinstance(error, Unreachable) and not error.refused:
            # It is there and says nothing, as while it imports.
            self._is_unwanted(self._silent_seconds)
            return
        if self._running or self._away_because is None:
            _LOG.warning("%s is not there: %s", self.name, error)
        self._away_because = str(error)
        self._running = self._ready = False
        self._unwanted_since = None
        self._model = None
        self._shared.forget_replacement()

    def _is_unwanted(self, seconds: float) -> None:
        """Have it replaced if it has been as it is for too long."""
        self._ready = False
        now = time.monotonic()
        if self._unwanted_since is None:
            self._unwanted_since = now
        elif now - self._unwanted_since > seconds and not self._shared.replacement_asked:
            self._have_replaced()

    def _pause_until(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        return left > 0 and not self._closed.wait(min(_LOOK_SECONDS, left))

    def _refuse_unknown(self, generation: Generation) -> None:
        """Refuse what a request may ask of other engines only."""
        for field in dataclasses.fields(generation):
            if field.name in _UNDERSTOOD:
                continue
            value: Any = getattr(generation, field.name)
            if value not in (None, "", (), {}, [], field.default):
                self._refuse(f"{field.name} is for the engine diffusers alone")


class _AtWork:
    """While it lasts, the engine has something to do."""

    def __init__(self, engine: HttpEngine) -> None:
        self._engine = engine

    def __enter__(self) -> None:
        with self._engine._looking:
            self._engine._cancelled.clear()
            self._engine._busy = True

    def __exit__(self, *_: object) -> None:
        self._engine._busy = False
        self._engine._ready = self._engine._running
        if self._engine._shared.replacement_asked or not self._engine._running:
            self._engine._ready = False
            self._engine._model = None


def part_of(on_step: OnStep, index: int, count: int) -> OnStep:
    """Return how to tell the steps of one part of several, as those of all.

    Args:
        on_step: Who is told.
        index: Which part it is.
        count: How many parts there are.
    """
    return lambda done, of: on_step(index * of + done, count * of)


def _nothing(done: int, of: int) -> None:
    """Tell nobody."""
