"""A replica dies, another joins, and idle ones ask for work: what lanes make of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from benchmarks.routing_fleet import Fleet
from cdk_stable_diffusion.contract.lanes import home_lanes

_RATE = 2.0
_KILL_AFTER, _JOIN_AFTER, _SECONDS = 15.0, 35.0, 55.0
_QUIET_SECONDS, _COUNTED_SECONDS = 120.0, 120.0


def membership(fleet: Fleet) -> dict[str, Any]:
    """Kill a replica, let another join, and return what became of the tasks and lanes.

    Args:
        fleet: Its agents, which have nothing to do yet.
    """
    names = [fleet.name(number) for number in range(len(fleet.run.processes))]
    victim = max(
        range(len(names)), key=lambda each: len(home_lanes(names[each], names, fleet.lanes))
    )
    left = [name for name in names if name != names[victim]]
    count = int(_RATE * _SECONDS)
    moments: dict[str, float] = {}

    def kill() -> None:
        moments["killed"] = time.time()
        fleet.run.processes[victim].kill()

    def join() -> None:
        moments["joined"] = time.time()
        fleet.start(1)

    outcome = fleet.do_at(
        [each / _RATE for each in range(count)],
        [each % len(fleet.models) for each in range(count)],
        meanwhile=((_KILL_AFTER, kill), (_JOIN_AFTER, join)),
    )
    joined = [*left, fleet.name(len(fleet.run.processes) - 1)]
    killed, began = moments["killed"] - fleet.began, moments["joined"] - fleet.began
    late = [each for each in outcome.tasks if each.sent > killed]
    return {
        "tasks": count,
        "without_result": count - len(outcome.tasks),
        "with_two_results": fleet.twice,
        "lease_seconds": fleet.scene.environment.lease_seconds,
        "homes_after_death_seconds": _seconds_until_known(fleet, moments["killed"], left),
        # From its start, with what a process needs until it is ready.
        "homes_after_joining_seconds": _seconds_until_known(fleet, moments["joined"], joined),
        "longest_wait_before": round(
            max(each.waiting for each in outcome.tasks if each.done < killed), 1
        ),
        "longest_wait_of_a_task_in_hand": round(
            max(each.waiting for each in outcome.tasks if each.sent <= killed), 1
        ),
        "longest_wait_after_death": round(
            max(each.waiting for each in late if each.sent < began), 1
        ),
        "longest_wait_after_joining": round(
            max(each.waiting for each in late if each.sent >= began), 1
        ),
    }


def idle(fleet: Fleet) -> dict[str, Any]:
    """Return how many requests idle agents send.

    Args:
        fleet: Its agents, which have nothing to do.
    """
    # Everything must have been asked for once, and not be asked for so soon again.
    fleet.do([0] * len(fleet.run.processes))
    time.sleep(_QUIET_SECONDS)
    before = dict(fleet.proxy.plan.calls)
    time.sleep(_COUNTED_SECONDS)
    calls = {
        name: count - before.get(name, 0)
        for name, count in fleet.proxy.plan.calls.items()
        if count != before.get(name, 0)
    }
    minutes = _COUNTED_SECONDS / 60 * len(fleet.run.processes)
    return {
        "agents": len(fleet.run.processes),
        "lanes": fleet.lanes,
        "sqs_requests_a_minute": round(
            sum(count for name, count in calls.items() if name.startswith("sqs.")) / minutes, 1
        ),
        "requests_a_minute": {name: round(count / minutes, 1) for name, count in calls.items()},
    }


def _seconds_until_known(fleet: Fleet, since: float, names: Sequence[str]) -> float:
    """Return after how long all replicas that live knew that these do, and so every lane's home."""
    known = [
        min(time for time, replicas in fleet.replicas(number).items() if replicas == set(names))
        for number in range(len(fleet.run.processes))
        if fleet.name(number) in names
    ]
    return round(max(known) - since, 1)
