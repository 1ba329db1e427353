"""The parts of the simulation: tiers, routing, scaling, nodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract.lanes import home_lanes, lane_of
from cdk_stable_diffusion.planning import (
    Autoscaling,
    Lanes,
    Models,
    SharedQueue,
    Tasks,
    saturated,
    simulate,
)
from cdk_stable_diffusion.planning.autoscaler import Autoscaler
from cdk_stable_diffusion.planning.cache import DISK, GPU, RAM, S3, Cache, Tier
from cdk_stable_diffusion.planning.hand import Hand, LanesHand
from cdk_stable_diffusion.planning.replica import NOTHING, Held, Node, Replica
from tests.planning.scene import SLOW, setup, workload


def tasks_at(*arrivals: float, models: tuple[int, ...] | None = None, seconds: float = 2) -> Tasks:
    count = len(arrivals)
    return Tasks(
        arrivals=np.array(arrivals, dtype=float),
        models=np.array(models or (0,) * count),
        seconds=np.full(count, seconds),
    )


# Tiers.


@given(
    st.lists(st.integers(0, 9), max_size=60),
    st.lists(st.floats(0.1, 5), min_size=10, max_size=10),
    st.floats(0, 12),
)
def test_a_tier_keeps_the_last_used_that_fit(
    used: list[int], sizes: list[float], room: float
) -> None:
    tier = Tier(room, sizes)
    kept: list[int] = []  # The last used last.
    for model in used:
        tier.use(model)
        if model in kept:
            kept.remove(model)
        if sizes[model] <= room:
            kept.append(model)
        while sum(sizes[each] for each in kept) > room + 1e-9:
            kept.pop(0)
    assert [model for model in range(10) if model in tier] == sorted(kept)


def test_a_model_is_looked_for_in_the_nearest_tier_first() -> None:
    cache = Cache((1, 1, 3), [1.0] * 9)
    for model in (0, 1, 2):
        cache.fetch(model)
        cache.load(model)
    assert [cache.nearest(model) for model in range(4)] == [DISK, RAM, GPU, S3]


def test_loading_takes_as_long_as_from_where_the_model_is() -> None:
    models = Models.named(["a", "b"], [1, 1], [2.0, 1.0])
    given = workload(models=models, loading=SLOW)
    arrivals = tasks_at(0, 100, 200, 300, models=(0, 0, 1, 0))
    waits: list[float] = [
        10,
        0,
        5,
        10,
    ]  # From S3; on the GPU; from S3, half as large; from S3 again.
    assert list(simulate(given, setup(), arrivals).waiting) == waits
    waits = [10, 0, 5, 1.5]
    assert list(simulate(given, setup(ram=3), arrivals).waiting) == waits
    waits = [10, 0, 5, 4]
    assert list(simulate(given, setup(disk=3), arrivals).waiting) == waits
    waits = [10, 0, 5, 0]
    assert list(simulate(given, setup(gpu=3), arrivals).waiting) == waits


def test_a_model_that_no_gpu_has_room_for_is_refused() -> None:
    with pytest.raises(ValueError, match="has no room for one of 1 GiB"):
        simulate(workload(), setup(gpu=0.5))


# Routing.


def test_a_shared_queue_is_served_in_order() -> None:
    models = Models.zipf(5, gibibytes=1)
    outcome = simulate(workload(2, models=models, loading=SLOW), setup(replicas=2, ram=3))
    begun = outcome.begun - np.array([0.0] * len(outcome.begun))
    # Loading aside, nobody overtakes: of two tasks the one that came first is taken first.
    assert (np.diff(begun) > -10).all()
    assert outcome.stolen == 0


def test_a_replica_prefers_the_model_that_it_has() -> None:
    given = workload(models=Models.zipf(2, gibibytes=1), loading=SLOW)
    # From the first task it knows how long loads take, and so how many to hold.
    arrivals = tasks_at(0, 20, 21, 21.4, 23, models=(0, 0, 1, 0, 0))
    outcome = simulate(given, setup(Lanes(count=1), ahead=2), arrivals)
    assert list(np.argsort(outcome.begun)) == [0, 1, 3, 4, 2]
    assert outcome.loads_per_1000 == 400
    # It has no choice but among those that it holds.
    blind = setup(Lanes(count=1), ahead=0)
    assert list(np.argsort(simulate(given, blind, arrivals).begun)) == [0, 1, 2, 3, 4]


def test_the_oldest_task_does_not_wait_for_ever() -> None:
    given = workload(models=Models.zipf(2, gibibytes=1), loading=SLOW)
    arrivals = tasks_at(0, 20, 21, *np.arange(21.4, 81, 1.9), models=(0, 0, 1, *[0] * 32))
    begun = [
        simulate(
            given, setup(Lanes(count=1, oldest_every_seconds=seconds), ahead=2), arrivals
        ).begun[2]
        for seconds in (15, 30, 1e9)
    ]
    assert begun[0] <= 21 + 15 + 4 < begun[1] < 21 + 30 + 4 < begun[2]


def test_a_task_waits_for_its_home_and_is_stolen_after_a_while() -> None:
    models = Models.zipf(2, gibibytes=1)
    pods = ["pod-1-1", "pod-1-2"]
    lanes = next(
        count
        for count in range(2, 150)
        if {lane_of(name, count) for name in models.names} <= {*home_lanes("pod-1-1", pods, count)}
    )
    given = workload(models=models, loading=SLOW)
    arrivals = tasks_at(0, 1, 2, models=(0, 0, 0))
    patient = simulate(
        given, setup(Lanes(count=lanes, steal_after_seconds=60), replicas=2), arrivals
    )
    assert (patient.stolen, list(patient.begun)) == (0, [10, 12, 14])
    soon = setup(Lanes(count=lanes, steal_after_seconds=3), replicas=2)
    quick = simulate(given, soon, arrivals)
    # The second task is taken at 4, or as soon as it is seen; the third then waits for whoever is
    # free first.
    assert (quick.stolen, list(quick.begun)) == (1, [10, pytest.approx(15, abs=1), 12])


def test_a_thief_takes_what_it_has_the_model_of() -> None:
    models = Models.zipf(3, gibibytes=1)
    given = workload(models=models, loading=SLOW, seconds=2)
    drawn = saturated(given, 3_000, at_a_time=40)
    lanes = setup(Lanes(count=12), replicas=4, ahead=2)
    shared = simulate(given, setup(SharedQueue(), replicas=4, ahead=2), drawn)
    outcome = simulate(given, lanes, drawn)
    assert outcome.stolen > 100
    assert outcome.loads_per_1000 < shared.loads_per_1000 / 4


def test_what_waits_for_its_turn_is_given_back_once_somebody_may_be_idle() -> None:
    models = [0, 0, 1, 2, 2]
    hand = LanesHand(2.0, models, Lanes(count=4))
    replica = Replica("pod", Node(since=0, starts_at=0), Cache((1, 0, 0), [1, 1, 1]))
    replica.model, replica.until = 0, 100.0
    replica.hand = [Held(task, S3, 0.0) for task in (2, 3, 4, 1)]
    # It cannot say how long anything takes.
    assert not hand.too_early(replica, 99.0)
    replica.drawing.learn(1.0)
    replica.loading.learn(10.0)
    replica.left_over_at = 84.0
    assert not hand.too_early(replica, 99.0)
    assert hand.most(replica, 99.0) == 30
    replica.left_over_at = 83.0
    # In a second it loads for the first, behind the one whose model it has.
    assert [held.task for held in hand.too_early(replica, 99.0)] == [3, 4]
    assert hand.most(replica, 99.0) == 10
    assert not Hand(2.0, models).too_early(replica, 99.0)


def test_what_comes_to_a_busy_home_is_passed_on() -> None:
    given = workload(models=Models.zipf(3, gibibytes=1), loading=SLOW)
    # By 24 the only lane's home knows how long loads take.
    arrivals = tasks_at(0, 1, 40, 41, 41.5, models=(0, 1, 1, 2, 1))
    lanes = setup(Lanes(count=1, steal_after_seconds=60), replicas=2)
    outcome = simulate(given, lanes, arrivals)
    # The fourth is on its way for a moment, and loaded by the other. The last waits for its model.
    assert list(outcome.begun) == [10, 22, 40, pytest.approx(51.15), 42]
    assert outcome.stolen == 0


def test_what_others_would_begin_sooner_is_passed_on() -> None:
    hand = LanesHand(2.0, [0, 0, 1], Lanes(count=4))
    replica = Replica("pod", Node(since=0, starts_at=0), Cache((1, 1, 0), [1, 1, 1]))
    replica.task, replica.model, replica.until = 0, 0, 10.0
    # It cannot say how long anything takes.
    assert not hand.passes_on(replica, 1, 9.0)
    replica.drawing.learn(1.0)
    replica.loading.learn(5.0)
    assert hand.passes_on(replica, 1, 9.0)
    assert not hand.passes_on(replica, 1, 9.6)
    # Another would have to load it, and so would this one what it has let go.
    assert not hand.passes_on(replica, 0, 5.0)
    assert hand.passes_on(replica, 0, 4.0)
    replica.left_over_at = 8.0
    assert not hand.passes_on(replica, 1, 9.0)
    replica.left_over_at, replica.task = -math.inf, NOTHING
    assert not hand.passes_on(replica, 1, 9.0)
    assert not Hand(2.0, [0]).passes_on(replica, 1, 9.0)


def test_a_hot_model_with_several_lanes_has_several_homes() -> None:
    models = Models.named(["hot", "cold"], [1, 1e-9], [1, 1])
    given = workload(0.8, models=models, seconds=2, loading=SLOW)
    never = 1e9
    narrow = setup(Lanes(count=16, steal_after_seconds=never), replicas=4)
    wide = setup(Lanes(count=16, steal_after_seconds=never, spread={"hot": 16}), replicas=4)
    assert simulate(given, narrow).waiting_percentile(95) > 1_000
    assert simulate(given, wide).waiting_percentile(95) < 60


@pytest.mark.parametrize("routing", [SharedQueue(), Lanes(), Lanes(count=1), Lanes(count=150)])
@pytest.mark.parametrize("ahead", [0.0, 2.0])
def test_no_task_is_lost_or_drawn_too_early(routing: SharedQueue | Lanes, ahead: float) -> None:
    given = workload(
        1.0,
        models=Models.zipf(10, gibibytes=1),
        loading=SLOW,
        seconds=4,
        variation=2,
        spot_reclaims_per_hour=6,
        start_seconds=60,
    )
    scaling = Autoscaling(tasks_per_replica=5, max_replicas=30)
    outcome = simulate(given, setup(routing, autoscaling=scaling, ram=3, ahead=ahead))
    assert (outcome.done > 0).all()
    assert (outcome.begun >= outcome.arrivals).all()
    assert (outcome.done >= outcome.begun).all()
    assert sum(outcome.loads) == len(outcome.done) + outcome.interrupted
    assert max(sum(a.since <= b.since < a.until for a in outcome.paid) for b in outcome.paid) <= 60


def test_the_same_seed_gives_the_same_figures() -> None:
    given = workload(2, models=Models.zipf(10, gibibytes=1), loading=SLOW, variation=1)
    first, again = (simulate(given, setup(Lanes(), replicas=6, ram=3)) for _ in range(2))
    assert (first.done == again.done).all()
    other = simulate(
        workload(2, models=Models.zipf(10, gibibytes=1), loading=SLOW, variation=1, seed=2),
        setup(Lanes(), replicas=6, ram=3),
    )
    assert len(other.done) != len(first.done) or (other.done != first.done).any()


def test_a_model_is_fetched_while_the_gpu_still_draws() -> None:
    given = workload(models=Models.zipf(2, gibibytes=1), loading=SLOW, seconds=20)
    arrivals = tasks_at(0, 1, models=(0, 1), seconds=20)
    assert list(simulate(given, setup(), arrivals).begun) == [10, 40]
    assert list(simulate(given, setup(ahead=5), arrivals).begun) == [10, 35]
    # No sooner than it takes to bring the model to the GPU from as near as it can be meanwhile.
    assert list(simulate(given, setup(ahead=20), arrivals).begun) == [10, 34]
    assert list(simulate(given, setup(ahead=20, ram=1), arrivals).begun) == [10, 31.5]


# Scaling.


def test_no_replica_becomes_one_when_keda_looks() -> None:
    scaler = Autoscaler(Autoscaling(tasks_per_replica=10))
    scaler.sync(0, 50)
    assert scaler.replicas == 0
    scaler.poll(10, 50)
    assert scaler.replicas == 1
    scaler.sync(15, 50)
    assert scaler.replicas == 5


def test_growth_is_at_most_twofold_or_four_more_each_time() -> None:
    scaler = Autoscaler(Autoscaling(tasks_per_replica=1, max_replicas=100))
    scaler.poll(0, 1_000)
    seen = []
    for tick in range(1, 8):
        scaler.sync(15 * tick, 1_000)
        seen.append(scaler.replicas)
    assert seen == [5, 10, 20, 40, 80, 100, 100]


def test_a_tenth_more_tasks_do_not_count() -> None:
    scaler = Autoscaler(Autoscaling(tasks_per_replica=1, min_replicas=10, max_replicas=20))
    scaler.sync(15, 11)
    assert scaler.replicas == 10
    scaler.sync(30, 12)
    assert scaler.replicas == 12


def test_replicas_end_after_a_while_and_half_of_them_a_minute() -> None:
    scaler = Autoscaler(
        Autoscaling(tasks_per_replica=1, max_replicas=16, stabilization_seconds=300)
    )
    scaler.poll(0, 16)
    for tick in range(1, 5):
        scaler.sync(15 * tick, 16)
    assert scaler.replicas == 16
    seen = {}
    for tick in range(5, 60):
        scaler.sync(15 * tick, 1)
        seen[15 * tick] = scaler.replicas
    assert seen[360] == 16
    assert [seen[time] for time in (375, 420, 435, 495, 555)] == [8, 8, 4, 2, 1]


def test_the_last_replica_ends_after_the_cooldown() -> None:
    scaler = Autoscaler(Autoscaling(tasks_per_replica=1, cooldown_seconds=60))
    scaler.poll(0, 1)
    scaler.poll(60, 0)
    assert scaler.replicas == 1
    scaler.poll(70, 0)
    assert scaler.replicas == 0


def test_the_fewest_replicas_never_end() -> None:
    scaler = Autoscaler(Autoscaling(tasks_per_replica=1, min_replicas=2, cooldown_seconds=0))
    for tick in range(100):
        scaler.poll(10 * tick, 0)
        scaler.sync(15 * tick, 0)
    assert scaler.replicas == 2


def test_the_first_task_waits_for_keda_for_a_node_and_for_its_model() -> None:
    given = workload(loading=SLOW, start_seconds=100)
    scaling = Autoscaling(tasks_per_replica=1, polling_seconds=10)
    outcome = simulate(given, setup(autoscaling=scaling), tasks_at(13))
    assert outcome.begun[0] == 20 + 100 + 10


def test_a_node_costs_from_its_request_until_it_has_been_free_for_a_while() -> None:
    given = workload(start_seconds=100, consolidate_after_seconds=60)
    scaling = Autoscaling(tasks_per_replica=1, polling_seconds=10, cooldown_seconds=300)
    outcome = simulate(given, setup(autoscaling=scaling), tasks_at(15))
    # Done at 122: KEDA sees the task until 120, and no other for more than 300 s at 430.
    assert [(each.since, each.until) for each in outcome.paid] == [(20, 490)]
    assert outcome.gpu_hours == pytest.approx(470 / 3_600)


def test_a_pod_takes_a_node_that_is_still_there() -> None:
    given = workload(start_seconds=100, pod_start_seconds=5, consolidate_after_seconds=600)
    scaling = Autoscaling(tasks_per_replica=1, polling_seconds=10, cooldown_seconds=30)
    outcome = simulate(given, setup(autoscaling=scaling), tasks_at(15, 500))
    assert list(outcome.begun) == [120, 505]
    assert len(outcome.paid) == 1


def test_a_node_that_is_taken_away_is_replaced_and_its_task_drawn_again() -> None:
    given = workload(spot_reclaims_per_hour=20, start_seconds=30)
    always = Autoscaling(tasks_per_replica=1, min_replicas=2, max_replicas=2)
    drawn = tasks_at(*range(0, 3_000, 100), seconds=170)
    outcome = simulate(given, setup(autoscaling=always), drawn)
    assert outcome.interrupted > 0
    assert len(outcome.paid) > 10
    assert np.allclose(outcome.done - outcome.begun, 170)


def test_scaling_is_what_the_construct_makes_of_it() -> None:
    from aws_cdk import Duration

    from cdk_stable_diffusion import Scaling
    from cdk_stable_diffusion.planning import ScalingPlan
    from cdk_stable_diffusion.runtime.workload import Workload as Pods

    for target, seconds in ((60, 5.0), (60, 7.0), (5, 5.0), (90, 0.4)):
        scaling = Scaling(target_latency=Duration.seconds(target), seconds_per_image=seconds)
        planned = ScalingPlan(target_latency_seconds=target).autoscaling(seconds)
        assert planned.tasks_per_replica == scaling.tasks_per_replica
        assert planned.min_replicas == scaling.min_replicas
        assert planned.max_replicas == scaling.max_replicas
        assert planned.cooldown_seconds == scaling.cooldown_seconds
        assert planned.stabilization_seconds == scaling.scale_down_stabilization_seconds
    spec = Pods(name="any", namespace="here").scaled_object(
        scaling=Scaling(), queue_urls=["https://sqs.example/queue"], region="eu-west-1"
    )["spec"]
    assert planned.polling_seconds == spec["pollingInterval"]
    (policy,) = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"][
        "policies"
    ]
    assert policy["type"] == "Percent"
    assert (planned.shrink_percent, planned.shrink_seconds) == (
        policy["value"],
        policy["periodSeconds"],
    )


def test_a_day_without_a_task_has_figures_too() -> None:
    outcome = simulate(workload(), setup(), tasks_at())
    assert outcome.waiting_percentile(95) == outcome.tasks_per_second == outcome.loads_per_1000 == 0
    assert outcome.gpu_hours == 1
    assert outcome.waiting_by_hour(95) == [None]
    assert outcome.gpus_by_hour() == [1]
