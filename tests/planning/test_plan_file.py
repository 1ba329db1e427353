"""A plan's file: what it means, and that everything wrong with it is said at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdk_stable_diffusion.planning import (
    Demand,
    InvalidPlan,
    Lanes,
    Loading,
    Plan,
    SharedQueue,
    read_plan,
)

ROOT = Path(__file__).parents[2]

SMALL = """
[demand]
tasks_per_minute = 6
seconds_per_picture = 2

[models]
count = 3
gibibytes = 2

[loading]
s3_seconds = 10
disk_seconds = 4
ram_seconds = 1

[nodes]
gpu_hour_dollars = 1
"""


def plan_of(text: str, directory: Path) -> Plan:
    file = directory / "workload.toml"
    file.write_text(text)
    return read_plan(file)


def faults_of(text: str, directory: Path) -> str:
    with pytest.raises(InvalidPlan) as caught:
        plan_of(text, directory)
    return str(caught.value)


def test_what_is_not_said_has_a_default(tmp_path: Path) -> None:
    plan = plan_of(SMALL, tmp_path)
    assert plan.workload.demand.by_hour == (6,) * 24
    assert plan.workload.demand.seconds_per_task == 2
    assert plan.workload.models.names == ("model-1", "model-2", "model-3")
    assert plan.workload.seed == 1
    assert plan.setup.autoscaling.tasks_per_replica == 30
    assert plan.setup.routing == Lanes()
    assert plan.target is None
    upstream, shared, lanes = plan.setups()
    assert (upstream.routing, shared.routing) == (SharedQueue(), SharedQueue())
    assert shared.autoscaling == lanes.autoscaling
    assert shared.cache == lanes.cache


def test_everything_can_be_said(tmp_path: Path) -> None:
    plan = plan_of(
        """
        seed = 7
        demand = {tasks_per_minute = [1, 2.5], hours = 5, pictures_per_task = 4,
                  seconds_per_picture = 0.5, variation = 1}
        loading = {s3_seconds = 10, disk_seconds = 4, ram_seconds = 1, gibibytes = 7}
        nodes = {gpu_hour_dollars = 1, start_seconds = 90, pod_start_seconds = 5,
                 consolidate_after_seconds = 30, spot_reclaims_per_hour = 0.1}
        cache = {gpu_gibibytes = 20, ram_gibibytes = 40, disk_gibibytes = 200}
        lanes = {count = 12, oldest_every_seconds = 20, steal_after_seconds = 1,
                 spread = {sdxl = 3}}
        scaling = {target_latency_seconds = 30, min_replicas = 1, max_replicas = 4,
                   cooldown_seconds = 60, scale_down_stabilization_seconds = 120}
        agent = {lookahead_seconds = 0, overhead_seconds = 0.1}
        target = {seconds = 60, percent = 99}
        search = {target_latency_seconds = [20, 40], min_replicas = [0], max_replicas = [2, 4],
                  lanes_per_replica = [3], ram_gibibytes = [0, 40], disk_gibibytes = [200]}
        [[model]]
        name = "sdxl"
        share = 3
        gibibytes = 7
        [[model]]
        name = "sd-1.5"
        share = 1
        gibibytes = 2
        """.replace(",\n", ", "),
        tmp_path,
    )
    demand = plan.workload.demand
    assert demand.by_hour == (1, 2.5, 1, 2.5, 1)
    assert demand.tasks == 60 * 8
    assert demand.seconds_per_task == 2
    assert plan.workload.models.shares == (0.75, 0.25)
    assert plan.workload.loading.by_tier((7, 3.5))[3] == (10, 5)
    assert plan.setup.autoscaling.tasks_per_replica == 15
    assert plan.setup.routing == Lanes(
        count=12, oldest_every_seconds=20, steal_after_seconds=1, spread={"sdxl": 3}
    )
    assert plan.setup.lookahead_seconds == 0
    assert plan.setup.overhead_seconds == 0.1
    assert plan.target
    assert len(list(plan.grid.setups(plan.workload, plan.setup, plan.target))) == 8


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    says = faults_of(
        """
        seed = -1
        surplus = 1
        model = []
        [demand]
        tasks_per_minute = ["many"]
        seconds_per_pictures = 2
        [loading]
        s3_seconds = 1
        disk_seconds = 4
        ram_seconds = 9
        [lanes]
        count = 151
        spread = {a = 0}
        [scaling]
        min_replicas = 5
        max_replicas = 2
        [target]
        seconds = 0
        percent = true
        [search]
        min_replicas = [0, 1.5]
        """,
        tmp_path,
    )
    assert says.startswith(f"{tmp_path / 'workload.toml'}: ")
    for fault in (
        "surplus is unknown: there are seed, demand",
        "seed must be a whole number of at least 0, is -1",
        "the table [nodes] is missing",
        "demand.seconds_per_pictures is unknown: did you mean seconds_per_picture?",
        "demand.seconds_per_picture is missing",
        "demand.tasks_per_minute must be a number, is 'many'",
        "loading: ram_seconds, disk_seconds and s3_seconds are 9, 4 and 1",
        "model must be tables, [[model]], is []",
        "lanes.count must be 1 to 150, is 151",
        "lanes.spread.a must be a whole number of at least 1, is 0",
        "scaling: min_replicas is 5: at most max_replicas, 2",
        "target.seconds must be more than 0, is 0",
        "target.percent must be a number, is True",
        "search.min_replicas must be a whole number, is 1.5",
    ):
        assert fault in says, fault
    assert says.count("; ") == 13
    assert "nodes.gpu_hour_dollars" not in says


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("cache = {gpu_gibibytes = 1}", "cache.gpu_gibibytes is 1: too little for the largest"),
        ("lanes = {spread = {other = 2}}", "lanes.spread.other is none of the models"),
        ("lanes = {spread = 2}", "lanes.spread must be a table"),
        ("lanes = 2", "lanes must be a table, is 2"),
        ("model = [{name = 'a', share = 1, gibibytes = 1}]", "give either [models]"),
        ("seed = true", "seed must be a whole number"),
    ],
)
def test_what_does_not_fit_together_is_refused(more: str, says: str, tmp_path: Path) -> None:
    assert says in faults_of(more + "\n" + SMALL, tmp_path)


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (["a", "a"], "model a is there 2 times: once"),
        (["a", "b/c"], "model[1].name must be 1 to 128 letters"),
        (["a", 7], "model[1].name must be"),
    ],
)
def test_wrong_names_are_refused(models: list[object], says: str, tmp_path: Path) -> None:
    tables = "\n".join(f"[[model]]\nname = {name!r}\nshare = 1\ngibibytes = 1" for name in models)
    without = SMALL.replace("[models]\ncount = 3\ngibibytes = 2\n", "")
    assert says in faults_of(without + tables, tmp_path)


def test_what_is_no_toml_is_refused(tmp_path: Path) -> None:
    assert "is no TOML" in faults_of("[demand", tmp_path)
    with pytest.raises(InvalidPlan, match="No such file"):
        read_plan(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"tasks_per_minute": (0.0, 0.0)}, "there is nothing to simulate"),
        ({"tasks_per_minute": ()}, "must be a list of numbers"),
        ({"tasks_per_minute": (1e9,)}, "at most 20,000,000"),
        ({"tasks_per_minute": (1.0,), "variation": float("nan")}, "variation must be a number"),
        ({"tasks_per_minute": (-1.0,), "hours": 0}, "tasks_per_minute.*; hours must be"),
    ],
)
def test_values_in_code_are_checked_too(values: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=f"Demand: .*{says}"):
        Demand(seconds_per_picture=1, **values)  # type: ignore[arg-type]


def test_loading_from_farther_away_takes_no_less_time() -> None:
    with pytest.raises(ValueError, match="none may be less than the one before"):
        Loading(s3_seconds=1, disk_seconds=2, ram_seconds=0)


def test_the_example_is_right() -> None:
    plan = read_plan(ROOT / "examples" / "planning" / "workload.toml")
    assert plan.target
