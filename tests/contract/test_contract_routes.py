"""Routes: every task reaches one queue, and which one never depends on who asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract import Route, RouteTable
from cdk_stable_diffusion.contract.lanes import default_lanes, lanes_of
from tests.contract import strategies as made

MOST_COMBINATIONS = 150
MOST_KEYS = 5

ids = st.uuids().map(str)


@given(made.route_tables(), made.model_names, ids)
def test_every_task_reaches_one_queue_of_its_route(
    table: RouteTable, model: str, task_id: str
) -> None:
    route = table.resolve(model)
    if route is None:
        return
    lane = table.lane(model, task_id)
    assert _takers(table, route.runtime, lane) == [(route.runtime, lane or 0)]


@given(made.route_tables(st.integers(2, 12)), st.integers(1, 40))
def test_while_the_number_of_lanes_changes_every_task_reaches_one_queue(
    table: RouteTable, before: int
) -> None:
    for lane in (None, *range(before)):
        for runtime in _runtimes(table):
            takers = _takers(table, runtime, lane)
            known = lane is not None and lane < len(table.filter_policies(runtime))
            assert takers == [(runtime, lane if known else 0)]


@given(made.route_tables(), made.model_names, ids)
def test_only_tasks_of_several_lanes_say_their_lane(
    table: RouteTable, model: str, task_id: str
) -> None:
    lane = table.lane(model, task_id)
    if table.resolve(model) != Route(table.dynamic or "", "dynamic") or table.lanes == 1:
        assert lane is None
    else:
        assert lane in lanes_of(model, table.lanes, table.spread.get(model, 1))


@given(made.route_tables())
def test_policies_are_within_the_limits_of_sns(table: RouteTable) -> None:
    for runtime in _runtimes(table):
        for policy in table.filter_policies(runtime):
            combinations = 1
            for conditions in policy.values():
                combinations *= len(conditions)
            assert combinations <= MOST_COMBINATIONS
            assert len(policy) <= MOST_KEYS


def test_one_queue_takes_all_that_its_runtime_serves() -> None:
    table = RouteTable(static={"sdxl": "own"}, dynamic="any")
    assert table.filter_policies("any") == ({"runtime": ["any"]},)
    assert table.filter_policies("own") == ({"runtime": ["own"]},)


def test_the_first_lane_takes_what_no_other_one_does() -> None:
    assert RouteTable(dynamic="any", lanes=3).filter_policies("any") == (
        {
            "runtime": ["any"],
            "lane": [{"numeric": ["=", 0]}, {"numeric": [">=", 3]}, {"exists": False}],
        },
        {"runtime": ["any"], "lane": [{"numeric": ["=", 1]}]},
        {"runtime": ["any"], "lane": [{"numeric": ["=", 2]}]},
    )


def test_a_table_without_lanes_is_written_as_ever() -> None:
    table = RouteTable(static={"m": "one"}, dynamic="any")
    assert json.loads(table.to_json()) == {"static": {"m": "one"}, "dynamic": "any"}


@pytest.mark.parametrize(
    ("replicas", "lanes"),
    [
        (1, 1),
        (2, 8),
        (3, 12),
        (4, 16),
        (8, 16),
        (10, 16),
        (16, 16),
        (17, 17),
        (150, 150),
        (1_000, 150),
    ],
)
def test_as_many_lanes_as_replicas_are_worth(replicas: int, lanes: int) -> None:
    assert default_lanes(replicas) == lanes


def _runtimes(table: RouteTable) -> set[str]:
    return {*table.static.values(), *([table.dynamic] if table.dynamic else [])}


def _takers(table: RouteTable, runtime: str, lane: int | None) -> list[tuple[str, int]]:
    """Return the queues to which SNS would deliver a task: runtime and lane of each."""
    attributes: dict[str, Any] = {"runtime": runtime, **({} if lane is None else {"lane": lane})}
    return [
        (each, number)
        for each in sorted(_runtimes(table))
        for number, policy in enumerate(table.filter_policies(each))
        if all(_takes(conditions, attributes.get(key)) for key, conditions in policy.items())
    ]


def _takes(conditions: list[Any], value: str | int | None) -> bool:
    for condition in conditions:
        if condition == {"exists": False}:
            if value is None:
                return True
        elif isinstance(condition, dict):
            operator, bound = condition["numeric"]
            if isinstance(value, int) and (value == bound or (operator == ">=" and value > bound)):
                return True
        elif condition == value:
            return True
    return False
