"""The simulation: what happens in a service, event by event."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from ..contract.holding import LONGEST_GAP_SECONDS
from .autoscaler import SYNC_SECONDS, Autoscaler
from .cache import DISK, GPU, RAM, Cache
from .fleet import Fleet
from .hand import Hand, LanesHand
from .outcome import Outcome
from .replica import NOTHING, Held, Node, Replica
from .routing import LaneRouter, Router, SharedQueueRouter
from .setup import Lanes, Setup
from .tasks import Tasks, draw, draw_lanes
from .workload import Workload

_NOTICE_SECONDS = 120.0
"""How long before it takes a spot instance away EC2 says so."""


def simulate(workload: Workload, setup: Setup, tasks: Tasks | None = None) -> Outcome:
    """Return what becomes of a workload.

    Args:
        workload: What has to be done.
        setup: How the service is set up.
        tasks: The tasks, so that several setups can have the same ones. Default: drawn from the
            workload.

    Raises:
        ValueError: If a model is larger than what a replica keeps on its GPU.
    """
    return _Simulation(workload, setup, draw(workload) if tasks is None else tasks).run()


_ROUNDING = 1e-9
"""A time so short has come."""


_PASSING_ON_SECONDS = 0.15
"""How long it takes to pass a task on: four calls to SQS."""

_LOOK_SECONDS = 0.5
"""How often a replica looks for more of its model that may take nothing else."""


class _Simulation:
    def __init__(self, workload: Workload, setup: Setup, tasks: Tasks) -> None:
        sizes = workload.models.gibibytes
        rooms = setup.cache.rooms(max(sizes))
        if max(sizes) > rooms[GPU]:
            raise ValueError(
                f"{setup.name}: a GPU with {rooms[GPU]:g} GiB for models has no room for one of "
                f"{max(sizes):g} GiB"
            )
        self._workload, self._setup, self._tasks = workload, setup, tasks
        # Lists, since reading single numbers of an array takes several times as long.
        self._arrivals: list[float] = tasks.arrivals.tolist()
        self._models: list[int] = tasks.models.tolist()
        self._seconds: list[float] = tasks.seconds.tolist()
        self._begun = [0.0] * len(tasks)
        self._done = [0.0] * len(tasks)
        self._loads = [0, 0, 0, 0]
        self._interrupted = 0
        self._load_seconds = workload.loading.by_tier(sizes)
        self._chance = random.Random(workload.seed)
        self._fleet = Fleet(
            workload.nodes,
            # Names of other pods give lanes other homes: that is a part of chance, too.
            prefix=f"pod-{workload.seed}",
            new_cache=lambda: Cache(rooms, sizes),
            chance=self._chance,
        )
        self._scaler = Autoscaler(setup.autoscaling)
        self._steal_gap = LONGEST_GAP_SECONDS
        if isinstance(setup.routing, Lanes):
            self._steal_gap += setup.routing.steal_after_seconds
        self._router = self._new_router()
        self._hand = self._new_hand()
        self._now = 0.0
        self._present = 0
        self._left = len(tasks)
        self._next_arrival = 0
        self._idle: list[Replica] = []
        self._looking: list[Replica] = []
        self._wakes_at = math.inf
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._counted = 0

    def _new_router(self) -> Router:
        routing, seed = self._setup.routing, self._workload.seed
        if not isinstance(routing, Lanes):
            return SharedQueueRouter()
        count = routing.count_for(self._setup.autoscaling.max_replicas)
        lanes = draw_lanes(self._tasks, self._workload.models, routing, count, seed)
        return LaneRouter(
            routing,
            count,
            lanes=lanes.tolist(),
            models=self._models,
            arrivals=self._arrivals,
        )

    def _new_hand(self) -> Hand:
        routing, ahead = self._setup.routing, self._setup.lookahead_seconds
        if not isinstance(routing, Lanes):
            return Hand(ahead, self._models)
        return LanesHand(ahead, self._models, routing)

    def run(self) -> Outcome:
        """Let everything happen."""
        closed, events, arrivals = self._tasks.closed, self._events, self._arrivals
        horizon = 0.0 if closed else self._workload.demand.seconds
        for replica in self._fleet.begin(self._scaler.replicas):
            self._await_reclaim(replica.node)
            self._ready(replica)
        if not self._scaler.is_fixed:
            self._at(0.0, self._poll, None)
            self._at(SYNC_SECONDS, self._sync, None)
        for _ in range(min(closed or 0, len(arrivals))):
            self._arrive()
        while True:
            arrival = math.inf
            if not closed and self._next_arrival < len(arrivals):
                arrival = arrivals[self._next_arrival]
            if events and events[0][0] < arrival:
                if not self._left and events[0][0] > horizon:
                    break
                self._now, _, happen, what = heapq.heappop(events)
                happen(what)
            elif arrival < math.inf:
                self._now = arrival
                self._arrive()
            else:
                break
        end = max(horizon, max(self._done, default=0.0))
        self._fleet.close(end)
        return self._outcome(end)

    def _outcome(self, end: float) -> Outcome:
        return Outcome(
            setup=self._setup,
            workload=self._workload,
            arrivals=np.array(self._arrivals),
            models=self._tasks.models,
            seconds=self._tasks.seconds,
            begun=np.array(self._begun),
            done=np.array(self._done),
            loads=tuple(self._loads),
            stolen=self._router.stolen,
            interrupted=self._interrupted,
            paid=tuple(self._fleet.paid),
            end=end,
        )

    def _at(self, time: float, happen: Callable[[Any], None], what: Any) -> None:
        # The count keeps the order of what happens at the same time.
        self._counted += 1
        heapq.heappush(self._events, (time, self._counted, happen, what))

    # Tasks.

    def _arrive(self) -> None:
        task = self._next_arrival
        self._next_arrival += 1
        self._arrivals[task] = self._now
        self._present += 1
        home = self._router.home_of(task)
        if home and self._idle and self._hand.passes_on(home, self._models[task], self._now):
            # Its home waits at its lanes even while it works, as long as others may be idle.
            self._at(self._now + _PASSING_ON_SECONDS, self._begin_passed_on, task)
            return
        home = self._router.add(task, self._now)
        for waiting, take in ((self._idle, self._take), (self._looking, self._take_ahead)):
            if home in waiting if home else waiting:
                take(home or self._chance.choice(waiting))
                return
        if self._idle:
            self._wake_later()

    def _begin_passed_on(self, task: int) -> None:
        """Let an idle replica begin with what its home could not begin soon."""
        if not self._idle:
            self._router.give_back(task, self._now)
            return
        replica = self._chance.choice(self._idle)
        self._hold(replica, task)
        self._take(replica)

    def _take(self, replica: Replica) -> None:
        """Let a replica whose GPU is free take a task, or wait for one."""
        if not replica.hand:
            task = self._router.take(replica, self._now)
            if task == NOTHING:
                if replica not in self._idle:
                    self._idle.append(replica)
                self._wake_later()
                return
            self._hold(replica, task)
        if replica in self._idle:
            self._idle.remove(replica)
            replica.idle_until = self._now
        held = replica.hand.pop(self._hand.first(replica, self._now))
        self._begin(replica, held)
        self._take_ahead(replica)

    def _hold(self, replica: Replica, task: int) -> None:
        """Put a task into a replica's hand, and bring its model as near as it can be."""
        model, cache = self._models[task], replica.cache
        tier = cache.nearest(model)
        cache.fetch(model)
        if replica.task != NOTHING:
            cache.warm(model)
        seconds = self._load_seconds
        # What is fetched is on the disk until it is loaded, though it may not stay there.
        near = min(tier, max(RAM, min(cache.nearest(model), DISK)))
        ready = self._now
        if tier > near:
            # One after the other, since each would take as much of the network and the disk.
            ready = max(ready, replica.fetches_until) + seconds[tier][model] - seconds[near][model]
            replica.fetches_until = ready
        replica.hand.append(Held(task, tier, ready))

    def _begin(self, replica: Replica, held: Held) -> None:
        task = held.task
        model = self._models[task]
        tier = replica.cache.nearest(model)
        begun = self._now
        replica.loads_for = 0.0
        if tier == GPU:
            self._loads[GPU] += 1
        else:
            if held.tier != GPU:
                # It was brought as far as the disk at least.
                begun, tier = max(begun, held.ready), min(tier, DISK)
            # Else it has left the GPU since it was found there.
            self._loads[held.tier or tier] += 1
            begun += self._load_seconds[tier][model]
            replica.loads_for = begun - self._now
        replica.cache.load(model)
        self._begun[task] = begun
        replica.task, replica.model = task, model
        replica.until = begun + self._seconds[task] + self._setup.overhead_seconds
        self._at(replica.until, self._finish, replica)

    def _finish(self, replica: Replica) -> None:
        task = replica.task
        if task == NOTHING:  # Its node was taken away.
            return
        self._done[task] = self._now
        replica.drawing.learn(self._seconds[task])
        if replica.loads_for > 0:
            replica.loading.learn(replica.loads_for)
        self._present -= 1
        self._left -= 1
        replica.task = NOTHING
        if replica in self._looking:
            self._looking.remove(replica)
        if self._tasks.closed and self._next_arrival < len(self._tasks):
            self._arrive()
        if replica.ends:
            self._fleet.release(replica, self._now)
            return
        gap = self._now - replica.idle_until
        self._take(replica)
        if replica in self._idle and gap > self._steal_gap:
            # What waited in others' lanes when it last looked may be gone.
            replica.watches_since = self._now

    def _take_ahead(self, replica: Replica) -> None:
        """Let a replica whose GPU will soon be free take its next tasks, or look for them later."""
        early = self._hand.too_early(replica, self._now)
        if early and not self._router.has_more(replica):
            for held in early:
                replica.hand.remove(held)
                self._router.give_back(held.task, self._now)
            if self._idle:
                self._wake_later()
        while not replica.ends and replica.task != NOTHING:
            another = self._hand.seconds_until_another(replica, self._now)
            near = self._hand.seconds_until_near(replica, self._now)
            seconds = min(another, near)
            if seconds > _ROUNDING:
                self._look_later(replica, self._now + seconds)
                break
            only_near = another > _ROUNDING
            room = self._hand.room(replica, self._now)
            tasks = self._router.take_ahead(replica, self._now, room, only_near=only_near)
            if not tasks:
                if only_near:
                    self._look_later(replica, self._now + min(another, _LOOK_SECONDS))
                    break
                if replica not in self._looking:
                    self._looking.append(replica)
                return
            for task in tasks:
                self._hold(replica, task)
        if replica in self._looking:
            self._looking.remove(replica)

    def _look_later(self, replica: Replica, time: float) -> None:
        if time < math.inf and time != replica.looks_at:
            replica.looks_at = time
            self._at(time, self._look, (replica, time))

    def _look(self, which: tuple[Replica, float]) -> None:
        replica, time = which
        # Where it has taken another task since, it looks at another time.
        if replica.looks_at == time:
            replica.looks_at = math.inf
            self._take_ahead(replica)

    def _wake_later(self) -> None:
        """Let idle replicas look again once the oldest task may be stolen."""
        time = self._router.next_chance(len(self._idle), self._now)
        if time < self._wakes_at:
            self._wakes_at = time
            self._at(max(time, self._now), self._wake, None)

    def _wake(self, _: None) -> None:
        self._wakes_at = math.inf
        # None is always the first.
        for replica in self._chance.sample(self._idle, len(self._idle)):
            self._take(replica)
        if self._idle:
            self._wake_later()

    def _offer(self) -> None:
        """Let idle replicas look at once: tasks have changed their place."""
        for replica in list(self._idle):
            self._take(replica)

    # Replicas.

    def _poll(self, _: None) -> None:
        self._scaler.poll(self._now, self._present)
        self._follow()
        self._at(self._now + self._setup.autoscaling.polling_seconds, self._poll, None)

    def _sync(self, _: None) -> None:
        self._scaler.sync(self._now, self._present)
        self._follow()
        self._at(self._now + SYNC_SECONDS, self._sync, None)

    def _follow(self) -> None:
        """Start and end replicas until there are as many as asked for."""
        while len(self._fleet.replicas) < self._scaler.replicas:
            replica, ready_at = self._fleet.start(self._now)
            if replica.node.since == self._now:
                self._await_reclaim(replica.node)
            self._at(ready_at, self._ready, replica)
        while len(self._fleet.replicas) > self._scaler.replicas:
            self._retire(self._fleet.choose_one_to_end())

    def _ready(self, replica: Replica) -> None:
        if replica.ends:
            return
        replica.is_ready = True
        replica.oldest_at = replica.watches_since = self._now
        self._router.join(replica)
        self._idle.append(replica)
        self._offer()

    def _retire(self, replica: Replica) -> None:
        """Let a replica finish what it works on, and end."""
        self._fleet.retire(replica)
        if replica in self._idle:
            self._idle.remove(replica)
        if replica in self._looking:
            self._looking.remove(replica)
        if replica.is_ready:
            self._router.leave(replica)
        for held in replica.hand:
            self._router.give_back(held.task, self._now)
        replica.hand.clear()
        if replica.task == NOTHING:
            self._fleet.release(replica, self._now)
        self._offer()

    def _await_reclaim(self, node: Node) -> None:
        rate = self._workload.nodes.spot_reclaims_per_hour
        if rate > 0:
            self._at(self._now + self._chance.expovariate(rate / 3_600), self._reclaim, node)

    def _reclaim(self, node: Node) -> None:
        replica = self._fleet.reclaim(node, self._now)
        if replica is None:
            return
        if replica.task != NOTHING and replica.until > self._now + _NOTICE_SECONDS:
            self._at(self._now + _NOTICE_SECONDS, self._interrupt, replica)
        if not replica.ends:
            self._retire(replica)
        self._follow()

    def _interrupt(self, replica: Replica) -> None:
        """Give back the task of a replica whose node is gone."""
        self._interrupted += 1
        self._router.give_back(replica.task, self._now)
        replica.task = NOTHING
        self._fleet.release(replica, self._now)
        self._offer()
