"""A replica dies, another joins, and idle ones ask for work: what lanes make of it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.routing_fleet import Fleet
from cdk_stable_diffusion.contract import parse_timestamp
from cdk_stable_diffusion.contract.lanes import home_lanes, homes

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
        fleet.start(1)
        moments["joined"] = time.time()

    outcome = fleet.do_at(
        [each / _RATE for each in range(count)],
        [each % len(fleet.models) for each in range(count)],
        meanwhile=((_KILL_AFTER, kill), (_JOIN_AFTER, join)),
    )
    joined = [*left, fleet.name(len(fleet.run.processes) - 1)]
    starts = _starts(fleet)
    killed, began = moments["killed"] - fleet.began, moments["joined"] - fleet.began
    late = [each for each in outcome.tasks if each.sent > killed]
    return {
        "tasks": count,
        "without_result": count - len(outcome.tasks),
        "with_two_results": fleet.twice,
        "lease_seconds": fleet.scene.environment.lease_seconds,
        "homes_after_death_seconds": _until_at_home(
            starts, moments["killed"], names, left, fleet.lanes
        ),
        "homes_after_joining_seconds": _until_at_home(
            starts, moments["joined"], left, joined, fleet.lanes
        ),
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


def _starts(fleet: Fleet) -> list[tuple[float, str, int]]:
    """Return when which replica began a task of which lane."""
    starts = []
    for number in range(len(fleet.run.processes)):
        for line in fleet.log(number).splitlines():
            if '"started"' in line:
                fields = json.loads(line)
                moment = parse_timestamp(fields["time"]).timestamp()
                starts.append((moment, fleet.name(number), fleet.lane(fields["task_id"])))
    return sorted(starts)


def _until_at_home(
    starts: Sequence[tuple[float, str, int]],
    since: float,
    before: Sequence[str],
    after: Sequence[str],
    lanes: int,
) -> dict[int, float | None]:
    """Return for each lane whose home has changed after how long its new home began a task."""
    old, new = homes(before, lanes), homes(after, lanes)
    return {
        lane: next(
            (
                round(moment - since, 1)
                for moment, name, its in starts
                if moment > since and its == lane and name == new[lane]
            ),
            None,
        )
        for lane in range(lanes)
        # Another lane has no model, and so no task.
        if old[lane] != new[lane] and any(lane == its for _, _, its in starts)
    }
