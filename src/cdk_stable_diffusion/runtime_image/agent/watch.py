"""Watching over the tasks in hand: does the client want them still, and how far are they?

All of it is beside the work. A call to S3 that is slow or fails delays no task and harms none: the
client's wish is heard later, or its question gets an older answer.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from ...contract import TaskProgress, timestamp
from ...contract.progress import REPORT_EVERY, RUNNING
from .leases import Leases
from .outputs import Outputs
from .progress import Progress
from .work import Work

_LOG = logging.getLogger(__name__)
LOOK_SECONDS = 2.0
"""How long between two looks whether a task is cancelled."""

_LONGEST_FIRST_LOOK_SECONDS = 0.5
_STALE_SECONDS = 1.0
_BEFORE_ITS_TURN_SECONDS = 0.4
"""When a task in hand is looked for that waits for the GPU: long enough for an answer until then,
and so late that most tasks have ended when the next look would come."""

_LEAST_WAIT_SECONDS = 0.25
"""What is to be looked for sooner is looked for at once, beside the other calls for it: together
they take less of the processor, whose caches forget a call within tenths of a second."""

_TICK_SECONDS = 0.25
_CALLS_AT_ONCE = 4


@dataclass
class _Watched:
    work: Work
    next_look: float
    look: Future[None] | None = None
    next_report: float = math.inf
    report: Future[None] | None = None


class Watch:
    """Looks for wishes to cancel the tasks in hand, and reports the steps of the one that runs."""

    def __init__(
        self,
        *,
        outputs: Outputs,
        leases: Leases,
        progress: Progress,
        stop_engine: Callable[[], None],
        runtime_name: str,
    ) -> None:
        """Prepare, without starting.

        Args:
            outputs: Where the wishes are and the reports go.
            leases: The messages in hand; a task whose message is not is watched no more.
            progress: How long the GPU is busy.
            stop_engine: Stops the running generation within one step, if there is one.
            runtime_name: Name of this runtime, for the reports.
        """
        self._outputs = outputs
        self._leases = leases
        self._progress = progress
        self._stop_engine = stop_engine
        self._runtime_name = runtime_name
        self._changed = threading.Condition()
        self._watched: dict[str, _Watched] = {}
        # When the thread looks around again by itself; while it does, it sees every change.
        self._wakes_at = -math.inf
        self._stopped = False
        # Held while the engine is told to stop, so that it is never told in the next task.
        self._at_the_engine = threading.Lock()
        self._running: tuple[Work, ...] = ()
        # A call that hangs must not keep the others from theirs.
        self._calls = ThreadPoolExecutor(_CALLS_AT_ONCE, "watch")
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is asked of S3 just now is not waited for."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._calls.shutdown(wait=False, cancel_futures=True)

    def begin(self, work: Work) -> None:
        """Watch a task from now on.

        The first look is on its way when this returns, unless the task has to wait for the GPU:
        then there is time for it until shortly before its turn.
        """
        seconds = self._progress.remaining() - _BEFORE_ITS_TURN_SECONDS
        has_time = _LEAST_WAIT_SECONDS <= seconds < LOOK_SECONDS
        with self._changed:
            if self._stopped:
                return
            watched = _Watched(work, time.monotonic() + (seconds if has_time else LOOK_SECONDS))
            if not has_time:
                watched.look = self._calls.submit(self._look, work)
            self._watched[work.message.receipt] = watched
            self._wake_by(watched.next_look)

    def is_cancelled(self, work: Work) -> bool:
        """Tell whether a task is cancelled, waiting for a first look if that takes no long time.

        Where nobody can say so soon the task is begun; a wish that shows later stops it then.
        """
        with self._changed:
            watched = self._watched.get(work.message.receipt)
        if watched is not None and watched.look is not None:
            wait((watched.look,), _LONGEST_FIRST_LOOK_SECONDS)
        return work.cancelled

    @contextlib.contextmanager
    def running(self, *works: Work) -> Iterator[None]:
        """Stop the engine if all of these tasks are cancelled, until the block ends.

        Args:
            works: What the engine works on, together.
        """
        with self._at_the_engine:
            self._running = works
        with self._changed:
            for watched in self._of(works):
                now = time.monotonic()
                watched.next_report = now + REPORT_EVERY.total_seconds()
                is_stale = watched.next_look - now < LOOK_SECONDS - _STALE_SECONDS
                if is_stale or watched.look is None:
                    # It was held for a while; who cancelled it since shall not wait longer.
                    watched.next_look = now
                # One that is cancelled already is for the thread to stop.
                is_now = watched.work.cancelled
                self._wake_by(now if is_now else min(watched.next_look, watched.next_report))
        try:
            yield
        finally:
            with self._at_the_engine:
                self._running = ()
            with self._changed:
                for watched in self._of(works):
                    self._forget(watched)

    def _wake_by(self, moment: float) -> None:
        """Wake the thread if it would sleep for longer; each time it wakes costs as a look does."""
        if moment < self._wakes_at:
            self._changed.notify_all()

    def _of(self, works: tuple[Work, ...]) -> list[_Watched]:
        found = (self._watched.get(work.message.receipt) for work in works)
        return [watched for watched in found if watched is not None]

    def _forget(self, watched: _Watched) -> None:
        self._watched.pop(watched.work.message.receipt, None)
        for call in (watched.look, watched.report):
            if call is not None:
                call.cancel()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._turn()
                self._stop_what_is_cancelled()
            except Exception:
                _LOG.exception("watching broke")
            with self._changed:
                if not self._stopped:
                    seconds = self._seconds_to_next_turn()
                    self._wakes_at = math.inf if seconds is None else time.monotonic() + seconds
                    self._changed.wait(seconds)
                    self._wakes_at = -math.inf

    def _seconds_to_next_turn(self) -> float | None:
        if not self._watched:
            return None
        if any(work.cancelled for work in self._running):
            return _TICK_SECONDS
        due = min(min(each.next_look, each.next_report) for each in self._watched.values())
        return max(_TICK_SECONDS, due - time.monotonic())

    def _turn(self) -> None:
        """Ask and tell what is due."""
        now = time.monotonic()
        with self._changed:
            # Not before: what is watched meanwhile is held as well.
            held = {message.receipt for message in self._leases.held()}
            for receipt, watched in tuple(self._watched.items()):
                if receipt not in held:
                    self._forget(watched)
                    continue
                if self._stopped:
                    return
                work = watched.work
                is_looking = watched.look is not None and not watched.look.done()
                if not work.cancelled and now >= watched.next_look and not is_looking:
                    watched.next_look = now + LOOK_SECONDS
                    watched.look = self._calls.submit(self._look, work)
                if now >= watched.next_report and (watched.report is None or watched.report.done()):
                    watched.next_report = now + REPORT_EVERY.total_seconds()
                    watched.report = self._calls.submit(self._report, work)

    def _stop_what_is_cancelled(self) -> None:
        with self._at_the_engine:
            # Again and again, since a word that comes before the engine has begun is lost.
            if self._running and all(work.cancelled for work in self._running):
                self._stop_engine()

    def _look(self, work: Work) -> None:
        try:
            if not self._outputs.is_cancelled(work.task):
                return
        except Exception as error:
            _LOG.warning("could not look for a wish to cancel: %s", error, extra=work.log_fields())
            return
        work.cancelled = True
        _LOG.info("is to be cancelled", extra=work.log_fields())
        with self._changed:
            self._changed.notify_all()

    def _report(self, work: Work) -> None:
        task = work.task
        progress = TaskProgress(
            task_id=task.task_id,
            status=RUNNING,
            updated_at=timestamp(),
            model=task.request.model,
            runtime=self._runtime_name,
            attempt=work.tries,
            started_at=timestamp(work.started_at),
            step=work.step,
            steps=work.steps,
        )
        try:
            self._outputs.put_progress(task, progress)
        except Exception as error:
            _LOG.warning("could not report progress: %s", error, extra=work.log_fields())
