"""Fetching ahead: the next tasks are taken and made ready while the GPU works.

Whoever takes a task keeps it from others, so this takes little and late. While the GPU is idle it
waits for a message as any idle agent does. While the GPU works it only looks: a message that an
idle agent waits for never stays on the queue long enough to be seen by a look. And it looks only
when what it would find could begin soon, by the running generation's own progress.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ...contract import InvalidMessage, TaskMessage
from .additions import additions_of
from .delivery import DeliveryPool
from .endings import Endings
from .engine import ModelDirectory
from .failure import TaskFailure
from .hand import Hand
from .inputs import InputImages
from .leases import Leases
from .models import Models
from .outputs import Outputs
from .retry import Retrier
from .returns import Returns
from .sharing import Sharing
from .task_queue import Received
from .watch import Watch
from .work import Work

_LOG = logging.getLogger(__name__)
_TWIN_SECONDS = 120
_TICK_SECONDS = 0.5
_CHECK_SECONDS = 2.0
"""How often to ask whether more waits or anybody is idle, to whom something may be given."""

_FINDING_SECONDS = 5.0
"""How long others have for finding what was left to them, before it is looked at again."""

_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class _InHand:
    work: Work
    since: float = field(default_factory=time.monotonic)

    @property
    def size(self) -> int:
        return len(self.work.message.body) + sum(map(len, self.work.inputs.values()))


class _Turn(enum.Enum):
    """How the next message is taken."""

    WAIT = enum.auto()
    LOOK = enum.auto()
    LOOK_FOR_NEAR = enum.auto()


class Source(Protocol):
    """Where messages come from, each under lease already."""

    def start(self, changed: Callable[[], None]) -> None:
        """Begin.

        Args:
            changed: Called when a message has come that nobody asked for, or a wait has ended.
        """

    @property
    def alive(self) -> bool:
        """Whether its threads live."""

    @property
    def has_arrived(self) -> bool:
        """Whether a message is here that nobody has asked for yet."""

    def has_more(self) -> bool:
        """Tell whether more waits that is for this agent before others."""

    def watch_homes(self) -> bool:
        """Wait for what others may begin with while this agent works; tell whether it does."""

    def pass_on(self, message: Received) -> bool:
        """Let an idle agent have a message; tell whether it is not in hand any more."""

    def next(self, *, patient: bool = True, most: int = 1, near: bool = False) -> Received | None:
        """Take a message, after waiting for one or at a look, which may bring some at once.

        Such a look may be only for what needs the present model.
        """

    def stop(self, grace: float) -> bool:
        """End, and tell whether nothing is on its way any more."""


class Intake:
    """Takes messages, deals with those that need no GPU, and holds the next tasks."""

    def __init__(
        self,
        *,
        receiver: Source,
        leases: Leases,
        returns: Returns,
        outputs: Outputs,
        models: Models,
        warm: Callable[[ModelDirectory], None],
        inputs: InputImages,
        endings: Endings,
        deliveries: DeliveryPool,
        retrier: Retrier,
        sharing: Sharing,
        hand: Hand,
        watch: Watch,
        most_bytes: int,
    ) -> None:
        """Prepare, without starting.

        Args:
            receiver: Where messages come from.
            leases: The messages in hand.
            returns: Where those go that cannot begin soon.
            outputs: Where an earlier result would be.
            models: The models.
            warm: Called with a model that will be needed soon, when it is on the disk.
            inputs: Where input images come from.
            endings: How tasks end.
            deliveries: Where endings run.
            retrier: How to try again.
            sharing: Which tasks share a pass.
            hand: How much to hold that has not begun, besides one task for an idle GPU, and what
                of it goes first.
            watch: Whether a client wants a task still.
            most_bytes: Most bytes of messages and input images to hold so.
        """
        self._receiver = receiver
        self._leases = leases
        self._returns = returns
        self._outputs = outputs
        self._models = models
        self._warm = warm
        self._inputs = inputs
        self._endings = endings
        self._deliveries = deliveries
        self._retrier = retrier
        self._sharing = sharing
        self._rules = hand
        self._watch = watch
        self._most_bytes = most_bytes
        self._changed = threading.Condition()
        self._hand: list[_InHand] = []
        # Taken from the hand for the pass after the one that runs.
        self._chosen: list[_InHand] = []
        # Not in the hand yet: looked up, or waiting for its pictures or its model.
        self._preparing: Received | None = None
        self._gpu_waits = False
        self._was_too_early = False
        self._stopped = False
        self._next_look = self._next_check = self._next_watch = 0.0
        self._pause = _FIRST_PAUSE_SECONDS
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._receiver.start(self.wake)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether its threads live."""
        return self._thread.is_alive() and self._receiver.alive

    def next(self) -> list[Work]:
        """Wait for a task, for an idle GPU.

        Returns:
            The task and, behind it, those that are in hand already and can share its pass; none
            once the agent is to stop.
        """
        with self._changed:
            self._gpu_waits = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._chosen or self._hand or self._stopped)
            self._gpu_waits = False
            self._was_too_early = False
            if self._stopped:
                return []
            taken = self._chosen or self._choose()
            self._chosen = []
            self._changed.notify_all()
            return [in_hand.work for in_hand in taken]

    def choose(self, model: str) -> list[Work]:
        """Choose what comes next, for a GPU that will be idle in a moment.

        Args:
            model: The model that it holds.

        Returns:
            What `next` will return, unless it is given back before; none if nothing of that model
            comes next, or if it was chosen already.
        """
        with self._changed:
            if self._stopped or self._chosen or not self._hand:
                return []
            works = self._works()
            if works[self._rules.first(works)].task.request.model != model:
                return []
            self._chosen = self._choose()
            return [in_hand.work for in_hand in self._chosen]

    @property
    def has_chosen(self) -> bool:
        """Whether something is chosen still."""
        return bool(self._chosen)

    def wake(self) -> None:
        """Look around now: a generation has begun, or a message has come."""
        with self._changed:
            self._changed.notify_all()

    def stop(self, grace: float) -> bool:
        """Take nothing more and give back what has not begun, after the shutdown was requested.

        Args:
            grace: How long to wait for what is already on its way.

        Returns:
            Whether nothing is on its way any more.
        """
        with self._changed:
            self._stopped = True
            left = self._let_go()
            if self._preparing is not None:
                # A model's download may take longer than there is time.
                left.append(self._preparing)
            self._changed.notify_all()
        self._returns.give_back(left)
        return self._receiver.stop(grace)

    def _run(self) -> None:
        while (turn := self._turn()) is not None:
            patient = turn is _Turn.WAIT
            message = self._receiver.next(
                patient=patient, most=self._room(), near=turn is _Turn.LOOK_FOR_NEAR
            )
            if message is None:
                self._next_look = time.monotonic() + self._pause
                self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
                continue
            self._pause = _FIRST_PAUSE_SECONDS
            # An idle agent may be waiting for the next one.
            self._next_look = time.monotonic() + self._pause if patient else 0.0
            if not patient and self._leaves_to_others(message):
                continue
            with self._changed:
                self._preparing = message
            work = self._read(message)
            if work is not None:
                self._put(work)
            with self._changed:
                self._preparing = None

    def _turn(self) -> _Turn | None:
        """Wait until a message may be taken.

        Returns:
            How; None once the agent is to stop.
        """
        while not self._stopped:
            self._give_back_what_cannot_begin()
            self._give_back_what_others_would_begin()
            self._watch_homes()
            with self._changed:
                # Its pictures are fetched when there is room for them.
                if self._receiver.has_arrived and not self._has_most_bytes():
                    return _Turn.LOOK
                if self._gpu_waits and not self._hand:
                    return _Turn.WAIT
                seconds, look = self._next_turn()
                if seconds <= 0:
                    return look
                self._changed.wait(min(seconds, _TICK_SECONDS))
        return None

    def _next_turn(self) -> tuple[float, _Turn]:
        """Return in how long to look, and how."""
        full = len(self._held()) >= self._rules.most()
        if full or self._has_most_bytes() or self._was_too_early:
            return _TICK_SECONDS, _Turn.LOOK
        works, chosen = self._works(), bool(self._chosen)
        pause = self._next_look - time.monotonic()
        seconds = max(self._rules.seconds_until_another(works, chosen=chosen), pause)
        if seconds <= 0:
            return seconds, _Turn.LOOK
        near = max(self._rules.seconds_until_near(works, chosen=chosen), pause)
        return min((seconds, _Turn.LOOK), (near, _Turn.LOOK_FOR_NEAR), key=lambda turn: turn[0])

    def _has_most_bytes(self) -> bool:
        return sum(in_hand.size for in_hand in self._held()) >= self._most_bytes

    def _room(self) -> int:
        with self._changed:
            return self._rules.room(len(self._held()))

    def _held(self) -> list[_InHand]:
        return [*self._chosen, *self._hand]

    def _works(self) -> list[Work]:
        """Return the tasks of what is not chosen yet."""
        return [in_hand.work for in_hand in self._hand]

    def _watch_homes(self) -> None:
        """Wait for what idle agents would begin sooner, while there are likely to be some."""
        with self._changed:
            if self._gpu_waits or self._stopped or time.monotonic() < self._next_watch:
                return
            if not self._rules.others_may_be_idle() or len(self._held()) >= self._rules.most():
                return
        if not self._receiver.watch_homes():
            self._next_watch = time.monotonic() + _CHECK_SECONDS

    def _leaves_to_others(self, message: Received) -> bool:
        """Let another have what came to a poll and would begin late here; tell whether one has.

        What a look brought is kept in any case, or the next look would bring it again.
        """
        if not message.polled:
            return False
        with self._changed:
            works, chosen = self._works(), bool(self._chosen)
            begins_late = self._rules.begins_late(message.model, works, chosen=chosen)
            too_early = self._rules.comes_too_early(message.model, works, chosen=chosen)
        if begins_late and self._receiver.pass_on(message):
            return True
        if begins_late:
            # Nobody seems to be idle. What waits may stay where others find it.
            self._next_watch = time.monotonic() + _FINDING_SECONDS
        if too_early:
            self._returns.give_back([message])
        return too_early

    def _give_back_what_cannot_begin(self) -> None:
        """Give the hand back if the GPU turns out to be busy for longer than it seemed."""
        with self._changed:
            held = self._held()
            if not held or self._gpu_waits:
                return
            if not self._rules.waits_too_long(held[0].since):
                return
            messages = self._let_go()
            self._was_too_early = True
        _LOG.info("gave back what cannot begin soon", extra={"messages": len(messages)})
        self._returns.give_back(messages)

    def _give_back_what_others_would_begin(self) -> None:
        """Give back of the last that there is what an idle replica would begin sooner."""
        if time.monotonic() < self._next_check:
            return
        with self._changed:
            if not self._too_early():
                return
        self._next_check = time.monotonic() + _CHECK_SECONDS
        if self._receiver.has_more():
            # Who is idle takes that first.
            return
        with self._changed:
            early = self._too_early()
            self._hand = [each for each in self._hand if not _is_in(each.work, early)]
        if not early:
            return
        _LOG.info("gave back what waits for its turn", extra={"messages": len(early)})
        self._next_watch = time.monotonic() + _FINDING_SECONDS
        self._returns.give_back(self._left_after_passing_on(early))

    def _left_after_passing_on(self, works: Sequence[Work]) -> list[Received]:
        """Pass on a task of each model, for whoever is idle, and return the messages of the others.

        These wait in their lanes, where who has loaded their model looks for more of it.
        """
        left: list[Received] = []
        begun = set[str]()
        somebody_is_idle = True
        for work in works:
            if somebody_is_idle and work.task.request.model not in begun:
                begun.add(work.task.request.model)
                somebody_is_idle = self._receiver.pass_on(work.message)
                if somebody_is_idle:
                    continue
            left.append(work.message)
        return left

    def _too_early(self) -> Sequence[Work]:
        if not self._hand or self._gpu_waits or self._stopped:
            return ()
        return self._rules.too_early(self._works(), chosen=bool(self._chosen))

    def _choose(self) -> list[_InHand]:
        """Take from the hand what is drawn in the next pass."""
        works = self._works()
        index = self._rules.first(works)
        first = works.pop(index)
        works = [first, *self._sharing.company(first, works)]
        taken = [each for each in self._hand if _is_in(each.work, works)]
        self._hand = [each for each in self._hand if not _is_in(each.work, works)]
        self._rules.took(index, first.task.request.model)
        return taken

    def _let_go(self) -> list[Received]:
        messages = [in_hand.work.message for in_hand in self._held()]
        self._chosen, self._hand = [], []
        return messages

    def _put(self, work: Work) -> None:
        with self._changed:
            if not self._stopped:
                self._preparing = None
                self._hand.append(_InHand(work))
                self._changed.notify_all()
                return
        self._returns.give_back([work.message])

    def _read(self, message: Received) -> Work | None:
        """Make a task of a message, and ready for the GPU; None if it needs none."""
        if self._leases.has_twin(message):
            # Delivered twice. The one in hand will leave a result for this one.
            self._leases.release(message, after_seconds=_TWIN_SECONDS)
            return None
        try:
            work = Work(message, TaskMessage.from_json(message.body))
        except Exception as error:
            # Whatever it is: it must not end this agent, since every other would meet it next.
            known = isinstance(error, InvalidMessage)
            reason = str(error) if known else f"{type(error).__name__}: {error}"
            self._end(message, lambda: self._endings.refuse(message, reason))
            return None
        try:
            return work if self._needs_the_gpu(work) else None
        except TaskFailure as error:
            failure = error
        except Exception as error:
            if self._retrier.stopping:
                self._returns.give_back([message])
                return None
            _LOG.exception("could not prepare a task", extra=work.log_fields())
            failure = TaskFailure(
                "generation-failed", f"{type(error).__name__}: {error}", transient=True
            )
        self._end(message, lambda: self._endings.fail(work, failure))
        return None

    def _end(self, message: Received, ending: Callable[[], None]) -> None:
        """Have a task end that needs no GPU."""
        with self._changed:
            stopped = self._stopped
            self._preparing = None
        try:
            if not stopped:
                self._deliveries.submit(ending)
                return
        except RuntimeError:
            # The worker has ended already.
            pass
        # Nothing is delivered any more.
        self._returns.give_back([message])

    def _needs_the_gpu(self, work: Work) -> bool:
        # Its first look and the next call are on their way together.
        self._watch.begin(work)
        earlier = self._retrier.call(
            "looking for a result", lambda: self._outputs.find_result(work.task), begun=False
        )
        # Whoever sends a failed task again from the dead letters wants another try.
        if earlier is not None and not (work.message.redriven and earlier.status == "failed"):
            result = earlier
            self._end(work.message, lambda: self._endings.republish(work, result))
            return False
        if self._watch.is_cancelled(work):
            self._end(work.message, lambda: self._endings.cancel(work))
            return False
        work.tries = self._retrier.call(
            "counting tries", lambda: self._returns.tries(work.message), begun=False
        )
        if self._endings.has_no_try_left(work):
            raise TaskFailure("generation-failed", "every try was interrupted", transient=True)
        work.inputs = self._retrier.call(
            "fetching input images",
            lambda: self._inputs.resolve(work.task.request),
            final=(TaskFailure,),
            begun=False,
        )
        self._models.fetch_ahead(work.task.request.model, then=self._warm)
        for each in additions_of(work.task.request):
            self._models.fetch_ahead(each.name, kind=each.kind)
        work.key = self._sharing.key(work)
        return True


def _is_in(work: Work, works: Sequence[Work]) -> bool:
    return any(each is work for each in works)
