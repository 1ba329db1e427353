"""Lanes: several queues of one runtime, so that the tasks of a model meet where it is loaded.

The API writes a task's lane, each queue takes one lane, and an agent takes from its home lanes
first. API, agent and planner must agree, and so must every version of them: these functions never
change what they return. Each is made of one function,

    number(text) = the first 8 bytes of SHA-256(text in UTF-8), as a big-endian integer

so that any language can follow:

    lane of a model          number(model) mod lanes
    order of further lanes   by number(model + LF + lane), the largest first, without that one
    lane of a hot model      its lanes[number(task id) mod how many they are]
    weight of a replica      number(replica + LF + lane): the larger, the more it is the lane's home
    most lanes of a replica  lanes / replicas, rounded up; the largest weights are served first

Where LF is the line feed, which is in no model's and no pod's name, and a lane is written in
decimal.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Collection
from functools import lru_cache

MOST_LANES = 150
"""Most lanes of a runtime: its topic takes 200 filter policies, and other runtimes need some."""

_LANES_WORTH_POLLING = 16


def default_lanes(max_replicas: int) -> int:
    """Return how many lanes a runtime has where nobody said it.

    More lanes keep models further apart, and each costs whoever is its home requests to SQS: two
    for each replica, as far as these are few, and at least one for each.

    Args:
        max_replicas: The most replicas.
    """
    if max_replicas == 1:
        return 1
    return min(max(min(2 * max_replicas, _LANES_WORTH_POLLING), max_replicas), MOST_LANES)


def lane_of(model: str, lanes: int) -> int:
    """Return the lane of a model's tasks.

    Args:
        model: The model's name.
        lanes: How many lanes the runtime has.

    Returns:
        0 to `lanes` - 1.

    Raises:
        ValueError: If there is no lane.
    """
    if lanes < 1:
        raise ValueError(f"lanes is {lanes}: at least 1")
    return _number(model) % lanes


def lanes_of(model: str, lanes: int, spread: int) -> tuple[int, ...]:
    """Return the lanes of a hot model, which has more than one.

    With a wider spread the model keeps the lanes that it has, and the first is always that of
    `lane_of`.

    Args:
        model: The model's name.
        lanes: How many lanes the runtime has.
        spread: How many of them are the model's.

    Returns:
        The lanes, each once.

    Raises:
        ValueError: If there is no lane, or the spread is not 1 to `lanes`.
    """
    first = lane_of(model, lanes)
    if not 1 <= spread <= lanes:
        raise ValueError(f"spread is {spread}: 1 to the number of lanes, {lanes}")
    if spread == 1:
        return (first,)
    others = [lane for lane in range(lanes) if lane != first]
    others.sort(key=lambda lane: _weight(model, lane), reverse=True)
    return (first, *others[: spread - 1])


def lane_of_task(model: str, task_id: str, lanes: int, spread: int = 1) -> int:
    """Return the lane of a task: one of its model's, and the same whenever it is sent again.

    Args:
        model: Name of the task's model.
        task_id: The task's id.
        lanes: How many lanes the runtime has.
        spread: How many of them are the model's. Default: one.

    Raises:
        ValueError: If there is no lane, or the spread is not 1 to `lanes`.
    """
    choice = lanes_of(model, lanes, spread)
    return choice[_number(task_id) % len(choice)] if spread > 1 else choice[0]


def homes(replicas: Collection[str], lanes: int) -> tuple[str, ...]:
    """Return which replica is the home of each lane.

    Rendezvous hashing with bounded loads: of all replicas with all lanes, the pair with the largest
    weight is a home, then the next one whose lane has none yet and whose replica has not its share.
    All who know the same replicas agree without a word, and when one joins or leaves, few lanes
    change their home beside its own. Without the bound fewer would, but of sixteen lanes one of
    eight replicas has four on average, and another none or one.

    Args:
        replicas: Names of the replicas that live, in any order.
        lanes: How many lanes the runtime has.

    Returns:
        The home of lane 0, of lane 1 and so on.

    Raises:
        ValueError: If there is no replica, or no lane.
    """
    if not replicas:
        raise ValueError("there is no replica: a lane needs one to be its home")
    if lanes < 1:
        raise ValueError(f"lanes is {lanes}: at least 1")
    most = math.ceil(lanes / len(replicas))
    found: dict[int, str] = {}
    count = Counter[str]()
    # Name and lane settle the case, which never comes, that two weights are the same.
    pairs = (
        (_weight(replica, lane), replica, lane) for replica in replicas for lane in range(lanes)
    )
    for _, replica, lane in sorted(pairs, reverse=True):
        if lane not in found and count[replica] < most:
            found[lane] = replica
            count[replica] += 1
    return tuple(found[lane] for lane in range(lanes))


def home_lanes(replica: str, replicas: Collection[str], lanes: int) -> tuple[int, ...]:
    """Return the lanes whose home a replica is.

    Args:
        replica: Its name.
        replicas: Names of the replicas that live, in any order.
        lanes: How many lanes the runtime has.

    Returns:
        The lanes in their order: none for a replica that is not among those that live.

    Raises:
        ValueError: If there is no replica, or no lane.
    """
    return tuple(lane for lane, home in enumerate(homes(replicas, lanes)) if home == replica)


@lru_cache(maxsize=65_536)
def _weight(name: str, lane: int) -> int:
    return _number(f"{name}\n{lane}")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8")).digest()[:8], "big")
