"""Lanes: everybody agrees on them, tasks are spread over them, and few change their home."""

from __future__ import annotations

import hashlib
import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract.lanes import (
    home_lanes,
    homes,
    lane_of,
    lane_of_task,
    lanes_of,
)
from tests.contract import strategies as made

TASK_ID = "6fe2ca4b-a56b-58eb-8c2f-4ac80a21fa8f"
PODS = ["any-6c8f-a", "any-6c8f-b", "any-6c8f-c"]

counts = st.integers(1, 60)
pods = st.sets(st.from_regex(r"any-[0-9a-f]{3}", fullmatch=True), min_size=1, max_size=12)


@pytest.mark.parametrize(
    ("model", "of_1", "of_8", "of_20", "of_200"),
    [
        ("sdxl-base-1.0", 0, 7, 15, 15),
        ("stable-diffusion-v1-5", 0, 2, 14, 114),
        ("m", 0, 1, 13, 33),
        ("FLUX.1-dev", 0, 6, 6, 46),
    ],
)
def test_the_lane_of_a_model_never_changes(
    model: str, of_1: int, of_8: int, of_20: int, of_200: int
) -> None:
    assert [lane_of(model, lanes) for lanes in (1, 8, 20, 200)] == [of_1, of_8, of_20, of_200]


@pytest.mark.parametrize(
    ("model", "lanes"),
    [
        ("sdxl-base-1.0", (15, 1, 11, 13)),
        ("stable-diffusion-v1-5", (14, 18, 1, 19)),
        ("m", (13, 3, 7, 9)),
        ("FLUX.1-dev", (6, 7, 1, 19)),
    ],
)
def test_the_lanes_of_a_hot_model_never_change(model: str, lanes: tuple[int, ...]) -> None:
    assert lanes_of(model, 20, 4) == lanes


def test_the_lane_of_a_task_never_changes() -> None:
    assert lane_of_task("sdxl-base-1.0", TASK_ID, 20) == 15
    assert lane_of_task("sdxl-base-1.0", TASK_ID, 20, spread=4) == 13


def test_the_homes_of_lanes_never_change() -> None:
    assert homes(PODS, 8) == tuple(f"any-6c8f-{each}" for each in "abacbbcc")
    assert home_lanes("any-6c8f-b", PODS, 8) == (1, 4, 5)


def test_the_lane_is_what_the_description_says() -> None:
    number = int.from_bytes(hashlib.sha256(b"sdxl-base-1.0").digest()[:8], "big")
    assert number == 684_407_388_875_835_615
    assert lane_of("sdxl-base-1.0", 20) == number % 20


@given(made.model_names, counts, st.data())
def test_a_model_has_as_many_lanes_as_it_should(
    model: str, lanes: int, data: st.DataObject
) -> None:
    spread = data.draw(st.integers(1, lanes))
    its = lanes_of(model, lanes, spread)
    assert len(set(its)) == len(its) == spread
    assert set(its) <= set(range(lanes))
    assert its[0] == lane_of(model, lanes)


@given(made.model_names, st.integers(2, 60), st.data())
def test_a_model_that_is_spread_wider_keeps_its_lanes(
    model: str, lanes: int, data: st.DataObject
) -> None:
    spread = data.draw(st.integers(1, lanes - 1))
    assert lanes_of(model, lanes, spread) == lanes_of(model, lanes, spread + 1)[:spread]


@given(made.model_names, st.uuids().map(str), st.integers(1, 60), st.data())
def test_a_task_has_one_lane_of_its_model(
    model: str, task_id: str, lanes: int, data: st.DataObject
) -> None:
    spread = data.draw(st.integers(1, lanes))
    lane = lane_of_task(model, task_id, lanes, spread)
    assert lane in lanes_of(model, lanes, spread)
    assert lane == lane_of_task(model, task_id, lanes, spread)


def test_models_and_the_tasks_of_a_hot_one_are_spread_evenly() -> None:
    by_lane = Counter(lane_of(f"model-{each}", 10) for each in range(5_000))
    assert all(400 < by_lane[lane] < 600 for lane in range(10))
    by_lane = Counter(lane_of_task("hot", f"task-{each}", 10, 4) for each in range(2_000))
    assert set(by_lane) == set(lanes_of("hot", 10, 4))
    assert all(400 < tasks < 600 for tasks in by_lane.values())


@given(pods, counts)
def test_every_lane_has_one_home(replicas: set[str], lanes: int) -> None:
    found = [home_lanes(replica, replicas, lanes) for replica in replicas]
    assert sorted(lane for its in found for lane in its) == list(range(lanes))
    assert home_lanes("nobody", replicas, lanes) == ()


@given(pods, counts, st.randoms())
def test_all_agree_in_whatever_order_they_know_the_replicas(
    replicas: set[str], lanes: int, random: object
) -> None:
    in_order = sorted(replicas)
    other = list(in_order)
    random.shuffle(other)  # type: ignore[attr-defined]
    assert homes(in_order, lanes) == homes(other, lanes)


@given(pods, counts)
def test_no_replica_has_more_than_its_share(replicas: set[str], lanes: int) -> None:
    by_home = Counter(homes(replicas, lanes))
    assert max(by_home.values()) == -(-lanes // len(replicas))
    if lanes % len(replicas) == 0:
        assert len(set(by_home.values())) == 1


@pytest.mark.parametrize(("replicas", "lanes"), [(2, 16), (4, 16), (8, 16), (8, 64)])
def test_few_lanes_move_beside_those_of_a_replica_that_joins_or_leaves(
    replicas: int, lanes: int
) -> None:
    moved = 0
    for each in range(40):
        names = {f"any-{each}-{number}" for number in range(replicas)}
        before, after = homes(names, lanes), homes({*names, "another"}, lanes)
        moved += sum(one != other for one, other in zip(before, after, strict=True))
    # Its own would be so many in any case.
    assert moved / 40 <= 2 * math.ceil(lanes / (replicas + 1))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: lane_of("m", 0), "lanes is 0: at least 1"),
        (lambda: lanes_of("m", 4, 0), "spread is 0: 1 to the number of lanes, 4"),
        (lambda: lanes_of("m", 4, 5), "spread is 5"),
        (lambda: lane_of_task("m", TASK_ID, 0), "lanes is 0"),
        (lambda: homes([], 4), "there is no replica"),
        (lambda: homes(PODS, 0), "lanes is 0"),
    ],
    ids=["no lane", "no spread", "wide spread", "no lane of a task", "no replica", "no lanes"],
)
def test_what_cannot_be_is_refused(call: object, says: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=says):
        call()
