"""Receiving from lanes: from this replica's own, and from others' where they are left to wait.

What comes while this replica loads another model it passes on to the overflow queue, where whoever
is idle waits. To count others' lanes would find it, too, but later, and by what SQS knows about.

Several polls wait at the same time, one for each home lane. What comes to one while the GPU has
something to do already is in hand like what was looked for.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from .lane_choice import LaneChoice
from .leases import Leases
from .loading import Loading
from .members import Members
from .near_models import NearModels
from .progress import Progress
from .receiver import Poll
from .shutdown import Shutdown
from .task_queue import Received, TaskQueue

_LOG = logging.getLogger(__name__)
_TICK_SECONDS = 0.25
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 20.0
_VIEW_SECONDS = 5.0
_TAKEN_SECONDS = 0.25
"""How long it takes at most until somebody who waits for a message has it."""


class LaneReceiver:
    """Hands out one message at a time; what it holds besides is under lease already."""

    def __init__(
        self,
        queue: TaskQueue,
        poll: Poll,
        leases: Leases,
        shutdown: Shutdown,
        give_back: Callable[[Iterable[Received]], None],
        *,
        choice: LaneChoice,
        members: Members,
        near: NearModels,
        loading: Loading,
        progress: Progress,
    ) -> None:
        """Prepare, without starting.

        Args:
            queue: The lanes.
            poll: How to wait.
            leases: Keeps each message from the moment it came.
            shutdown: Ends the waiting.
            give_back: What to do with messages that nobody waits for any more.
            choice: Which lane to take from.
            members: Which replicas live.
            near: Which models the engine has.
            loading: How long loading a model takes.
            progress: How long a task takes.
        """
        self._queue = queue
        self._poll = poll
        self._leases = leases
        self._shutdown = shutdown
        self._give_back = give_back
        self._choice = choice
        self._members = members
        self._near = near
        self._loading = loading
        self._progress = progress
        # Guards all below, and the choice.
        self._changed = threading.Condition()
        self._arrived: deque[Received] = deque()
        self._pollers: dict[int, threading.Thread] = {}
        self._polled: set[int] = set()
        self._on_their_way = 0
        self._stopped = False
        self._view_by = 0.0
        self._poll_ended: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to look for other replicas.

        Args:
            changed: Called when a message has come to a poll, or none has.
        """
        self._poll_ended = changed
        self._view_by = time.monotonic() + _VIEW_SECONDS
        self._members.start()

    @property
    def alive(self) -> bool:
        """Whether its threads live."""
        return all(thread.is_alive() for thread in tuple(self._pollers.values()))

    @property
    def has_arrived(self) -> bool:
        """Whether a message is here that nobody has asked for yet."""
        return bool(self._arrived)

    def has_more(self) -> bool:
        """Tell whether more waits in this replica's own lanes, or cannot be known not to."""
        with self._changed:
            self._choice.learn_members(self._members.members())
            own = self._choice.own
        return any(self._stopped or self._count(lane) != 0 for lane in own)

    def watch_homes(self) -> bool:
        """Wait at the home lanes although there is work: others may begin with what comes.

        Returns:
            Whether it does. It does not where something waits already: a look would bring more of
            that, and of the model that is loaded.
        """
        with self._changed:
            self._choice.learn_members(self._members.members())
            lanes = [lane for lane in self._choice.homes if lane not in self._polled]
        for lane in lanes:
            if self._stopped or self._count(lane) != 0:
                return False
            with self._changed:
                self._poll_at((lane,))
        return True

    def pass_on(self, message: Received) -> bool:
        """Let an idle replica have a message; tell whether one seems to be there.

        Only what was never tried: a copy begins to count its tries anew.

        Args:
            message: A message in hand.

        Returns:
            Whether it is not in hand any more.
        """
        overflow = self._choice.overflow
        if message.lane == overflow:
            # It came to a poll from before there was work.
            self._give_back([message])
            return True
        if message.receive_count > 1:
            return False
        if not self._somebody_is_idle():
            return False
        try:
            self._queue.copy_to_lane(message, overflow)
        except Exception as error:
            _LOG.warning("could not pass on %s: %s", message.message_id, error)
            return False
        with self._leases.letting_go():
            # Else whoever gave it back leaves two of it, like a message that SQS delivers twice.
            if self._leases.end(message):
                self._delete(message)
        _LOG.info("passed on", extra={"lane": message.lane, "model": message.model})
        return True

    def next(self, *, patient: bool = True, most: int = 1, near: bool = False) -> Received | None:
        """Take a message.

        Args:
            patient: Whether to wait for one rather than to look once. Default: wait.
            most: How many a look may bring; the next calls return the others. Default: one.
            near: Whether a look is only for what needs the present model. Default: for anything.

        Returns:
            The message, already under lease; None if there was none at a look, or once the agent
            is to stop.
        """
        if not self._has_something():
            if patient:
                self._wait_for_something()
            else:
                self._look(most, near=near)
        with self._changed:
            return self._arrived.popleft() if self._arrived else None

    def stop(self, grace: float) -> bool:
        """End the waiting, after the shutdown was requested.

        Args:
            grace: How long to wait for what is already on its way.

        Returns:
            Whether nothing is on its way any more.
        """
        deadline = time.monotonic() + grace
        self._members.leave()
        with self._changed:
            self._stopped = True
            left = list(self._arrived)
            self._arrived.clear()
            self._changed.notify_all()
        self._poll.abort()
        self._give_back(left)
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._on_their_way, max(0.0, deadline - time.monotonic())
            )

    def _has_something(self) -> bool:
        return bool(self._arrived) or self._stopped or self._shutdown.requested

    def _wait_for_something(self) -> None:
        """Wait at the home lanes, and look around at the others meanwhile."""
        # Who has not looked yet would take itself for the home of all. Who cannot look is one.
        self._members.wait_for_view(max(0.0, self._view_by - time.monotonic()))
        self._look_for_neglected()
        while not self._has_something():
            if self._look_at_a_home(1, idle=True):
                continue
            self._poll_own()
            if self._steal():
                continue
            with self._changed:
                lane, at = self._choice.lane_to_count()
                seconds = min(at - time.monotonic(), _TICK_SECONDS)
                if seconds > 0 and not self._has_something():
                    self._changed.wait(seconds)
                    continue
            if lane is not None and not self._has_something():
                self._count(lane)

    def _look(self, most: int, *, near: bool) -> None:
        """Look at the home lanes or, if these are empty, at that of the present model."""
        model = next(iter(self._near.tiers()), None)
        only = (model,) if near and model is not None else ()
        if not only:
            self._look_for_neglected()
        while not self._has_something():
            if not self._look_at_a_home(most, idle=False, only=only):
                break
        if self._has_something() or model is None:
            return
        with self._changed:
            lane = self._choice.lane_to_watch(model, time.monotonic())
        if lane is not None:
            self._count(lane)
        with self._changed:
            lane = self._choice.lane_to_go_on_with(model, time.monotonic())
            most = min(most, self._choice.share(lane)) if lane is not None else most
        if lane is not None and not self._has_something():
            self._receive(lane, most=most, stolen=True)

    def _look_for_neglected(self) -> None:
        """Take one from another's lane that nobody takes from, however much one's own have."""
        with self._changed:
            lane = self._choice.lane_to_check(time.monotonic())
        if lane is None or self._has_something():
            return
        self._count(lane)
        with self._changed:
            lane = self._choice.neglected_lane(time.monotonic())
        if lane is not None and not self._has_something():
            self._receive(lane, stolen=True)

    def _look_at_a_home(self, most: int, *, idle: bool, only: Sequence[str] = ()) -> bool:
        """Look at the home lane whose turn it is; tell whether there was one.

        Args:
            most: How many messages to take.
            idle: Whether the GPU waits.
            only: The models that it must have, if any.
        """
        with self._changed:
            self._choice.learn_members(self._members.members())
            near = tuple(self._near.tiers())
            lane = self._choice.home_to_ask(
                near, time.monotonic(), self._polled, idle=idle, only=only
            )
        if lane is None:
            return False
        self._receive(lane, most=most)
        return True

    def _steal(self) -> bool:
        """Take from another's lane, if one has what is worth it; tell whether one had."""
        near = tuple(self._near.tiers())
        with self._changed:
            lane = self._choice.lane_to_steal_from(
                near,
                time.monotonic(),
                load_seconds=self._loading.usual() or 0.0,
                pass_seconds=self._progress.usual(),
            )
        if lane is None or self._has_something():
            return False
        self._receive(lane, most=1, stolen=True)
        return True

    def _poll_own(self) -> None:
        """Wait at the home lanes, and for what others pass on."""
        with self._changed:
            self._poll_at(self._choice.own)

    def _poll_at(self, lanes: Iterable[int]) -> None:
        """Wait at every one of some lanes that nobody waits at yet."""
        if self._stopped:
            return
        idle = set(lanes) - self._polled
        for lane in idle:
            self._polled.add(lane)
            if lane not in self._pollers:
                self._pollers[lane] = threading.Thread(
                    target=partial(self._keep_polling, lane), name=f"lane-{lane}", daemon=True
                )
                self._pollers[lane].start()
        if idle:
            self._changed.notify_all()

    def _keep_polling(self, lane: int) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            with self._changed:
                self._changed.wait_for(lambda: lane in self._polled or self._stopped)
                if self._stopped:
                    return
                seconds = self._choice.poll_seconds(time.monotonic())
            if self._receive(lane, wait_seconds=seconds):
                pause = _FIRST_PAUSE_SECONDS
            else:
                self._shutdown.wait_for_request(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            with self._changed:
                self._polled.discard(lane)
                self._changed.notify_all()
            self._poll_ended()

    def _receive(
        self, lane: int, *, most: int = 1, wait_seconds: int = 0, stolen: bool = False
    ) -> bool:
        """Ask a lane for messages; tell whether it answered."""
        # What others pass on is of their lanes.
        stolen = stolen or lane == self._choice.overflow
        with self._changed:
            if self._stopped:
                return False
            self._on_their_way += 1
        try:
            messages = self._queue.receive_some(
                self._poll.client(), lane=lane, most=most, wait_seconds=wait_seconds, stolen=stolen
            )
            self._take_in(lane, messages)
            return True
        except Exception as error:
            with self._changed:
                self._choice.failed(lane, time.monotonic())
            if not self._shutdown.requested:
                _LOG.warning("could not receive: %s", error, extra={"lane": lane})
            return False
        finally:
            with self._changed:
                self._on_their_way -= 1
                self._changed.notify_all()

    def _take_in(self, lane: int, messages: list[Received]) -> None:
        for message in messages:
            self._leases.hold(message)
        with self._changed:
            waited = [message.waited_seconds for message in messages]
            self._choice.received(lane, waited, time.monotonic())
            for message in messages:
                if message.model is not None:
                    self._choice.learn_model(message.model, lane)
            # A poll may end after its lane has found another home, which waits there, too.
            polled = any(message.polled for message in messages)
            if not self._stopped and (lane in self._choice.own or not polled):
                self._arrived.extend(messages)
                return
        # They came to a poll that nobody waits for any more.
        self._give_back(messages)

    def _somebody_is_idle(self) -> bool:
        """Tell whether the overflow is empty: who is idle waits there, and leaves nothing."""
        overflow = self._choice.overflow
        if (waiting := self._count(overflow)) and not self._stopped:
            # It may be what was passed on a moment ago.
            self._shutdown.wait_for_request(_TAKEN_SECONDS)
            waiting = self._count(overflow)
        return waiting == 0 and not self._stopped

    def _delete(self, message: Received) -> None:
        try:
            self._queue.delete(message)
        except Exception as error:
            # It comes again when its lease ends, and finds the other's result.
            _LOG.warning("could not delete what was passed on: %s", error)

    def _count(self, lane: int) -> int | None:
        """Count and return what waits in a lane; None if that fails."""
        try:
            waiting, in_hand = self._queue.count(lane)
        except Exception as error:
            with self._changed:
                self._choice.failed(lane, time.monotonic())
            _LOG.warning("could not count what waits: %s", error, extra={"lane": lane})
            return None
        with self._changed:
            self._choice.counted(lane, waiting, time.monotonic(), in_hand=in_hand)
        return waiting
