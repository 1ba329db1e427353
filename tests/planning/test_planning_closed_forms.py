"""Where queueing theory has an answer, the simulation gives the same one."""

from __future__ import annotations

import math
from itertools import permutations

import numpy as np
import pytest

from cdk_stable_diffusion.contract.lanes import homes, lane_of
from cdk_stable_diffusion.planning import (
    Lanes,
    Loading,
    Models,
    SharedQueue,
    saturated,
    simulate,
)
from tests.planning.scene import SLOW, setup, workload

NEVER = 1e9


def erlang_c(servers: int, load: float) -> float:
    """The probability that a task has to wait, in a queue M/M/c."""
    blocked = 1.0
    for server in range(1, servers + 1):
        blocked = load * blocked / (server + load * blocked)
    use = load / servers
    return blocked / (1 - use + use * blocked)


@pytest.mark.parametrize(("servers", "use"), [(1, 0.5), (1, 0.8), (4, 0.7), (16, 0.8)])
def test_tasks_wait_as_long_as_in_a_queue_with_several_servers(servers: int, use: float) -> None:
    load = servers * use
    outcome = simulate(
        workload(load, hours=math.ceil(60_000 / 3_600 / load), variation=1), setup(replicas=servers)
    )
    waits = erlang_c(servers, load)
    assert (outcome.waiting > 1e-9).mean() == pytest.approx(waits, rel=0.06)
    assert outcome.waiting.mean() == pytest.approx(waits / (servers - load), rel=0.12)
    # Those who wait at all wait exponentially long, with the rate servers - load.
    p99 = math.log(waits / 0.01) / (servers - load)
    assert outcome.waiting_percentile(99) == pytest.approx(p99, rel=0.12)


def test_tasks_that_all_take_the_same_time_wait_half_as_long() -> None:
    outcome = simulate(workload(0.8, hours=24), setup())
    # Pollaczek and Khinchine: use / (1 - use) / 2 without any variation.
    assert outcome.waiting.mean() == pytest.approx(2.0, rel=0.08)


def test_lanes_that_are_never_stolen_from_are_queues_of_their_own() -> None:
    models = Models.zipf(40, exponent=0, gibibytes=1)
    names = ["pod-1-1", "pod-1-2", "pod-1-3", "pod-1-4"]
    its_home = homes(names, 16)
    shares = [
        sum(its_home[lane_of(model, 16)] == name for model in models.names) / 40 for name in names
    ]
    rate = 0.6 / max(shares)
    outcome = simulate(
        workload(rate, hours=20, models=models, variation=1),
        setup(Lanes(count=16, steal_after_seconds=NEVER), replicas=4),
    )
    for share, name in zip(shares, names, strict=True):
        its = [its_home[lane_of(models.names[model], 16)] == name for model in outcome.models]
        use = rate * share
        assert outcome.waiting[its].mean() == pytest.approx(use / (1 - use), rel=0.1)


@pytest.mark.parametrize("exponent", [0.0, 0.9, 1.5])
@pytest.mark.parametrize("replicas", [1, 4])
def test_a_shared_queue_loads_whenever_two_tasks_differ(exponent: float, replicas: int) -> None:
    models = Models.zipf(20, exponent=exponent, gibibytes=1)
    outcome = simulate(
        workload(2, hours=4, models=models, seconds=0.2, loading=SLOW), setup(replicas=replicas)
    )
    changes = sum(share * (1 - share) for share in models.shares)
    assert outcome.loads_per_1000 / 1_000 == pytest.approx(changes, rel=0.02)
    assert outcome.downloads_per_1000 == outcome.loads_per_1000


def test_a_memory_of_two_models_is_hit_as_often_as_least_recently_used_is() -> None:
    models = Models.zipf(6, exponent=0.9, gibibytes=1)
    share = models.shares
    # GPU and memory have the last two models that differ: in the order i, j with
    # p_i p_j / (1 - p_i).
    hit = sum(
        share[last] * share[other] / (1 - share[last]) * (share[last] + share[other])
        for last, other in permutations(range(6), 2)
    )
    outcome = simulate(workload(2, hours=6, models=models, loading=SLOW), setup(ram=1))
    assert outcome.downloads_per_1000 / 1_000 == pytest.approx(1 - hit, rel=0.03)


def test_what_fits_into_the_memory_is_downloaded_once() -> None:
    models = Models.zipf(12, gibibytes=0.7)
    outcome = simulate(workload(1, models=models, loading=SLOW), setup(ram=12 * 0.7, replicas=3))
    assert outcome.loads[3] == 12 * 3


def test_the_gpu_draws_as_long_as_the_tasks_take() -> None:
    outcome = simulate(workload(1.5, hours=10, variation=0.5), setup(replicas=3))
    assert outcome.useful_share == pytest.approx(0.5, rel=0.03)
    assert outcome.gpu_hours == pytest.approx(30, rel=0.001)
    deviation = (outcome.done - outcome.begun).std()
    assert deviation == pytest.approx(0.5, rel=0.02)


def test_tasks_come_by_the_hour_as_the_demand_says() -> None:
    from cdk_stable_diffusion.planning import Demand, Workload

    plain = workload()
    demand = Demand(tasks_per_minute=(60, 0, 240), seconds_per_picture=0.01)
    given = Workload(
        demand=demand, models=plain.models, loading=plain.loading, nodes=plain.nodes, seed=5
    )
    outcome = simulate(given, setup(SharedQueue()))
    by_hour = np.bincount((outcome.arrivals // 3_600).astype(int), minlength=3)
    assert by_hour[0] == pytest.approx(3_600, rel=0.05)
    assert by_hour[1] == 0
    assert by_hour[2] == pytest.approx(14_400, rel=0.03)
    # As far from each other as in a Poisson process: the deviation is the mean.
    gaps = np.diff(outcome.arrivals[by_hour[0] :])
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)


def test_it_agrees_with_upstreams_agents() -> None:
    """Four of them, unmodified, were measured with an emulated AWS and a GPU that sleeps.

    Ten models, 120 tasks at once, 0.4 seconds a task and two a load: 1.68 and 1.74 tasks a second,
    858 and 817 loads for 1,000 tasks.
    """
    rates, loads = [], []
    for seed in range(1, 21):
        given = workload(
            models=Models.zipf(10, gibibytes=1),
            loading=Loading(s3_seconds=2, disk_seconds=2, ram_seconds=0),
            seconds=0.4,
            seed=seed,
        )
        outcome = simulate(
            given, setup(replicas=4, overhead=0.23), saturated(given, 120, at_a_time=120)
        )
        rates.append(120 / outcome.end)
        loads.append(outcome.loads_per_1000)
    assert np.mean(rates) == pytest.approx((1.68 + 1.74) / 2, rel=0.03)
    assert np.mean(loads) == pytest.approx((858 + 817) / 2, rel=0.03)
