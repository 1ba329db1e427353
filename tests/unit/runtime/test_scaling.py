"""The arithmetic of scaling and of times."""

from __future__ import annotations

import math

import pytest
from aws_cdk import Duration
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime import Scaling
from cdk_stable_diffusion.runtime.timing import MAX_TASK_SECONDS, MIN_TASK_SECONDS, Timing
from cdk_stable_diffusion.runtime.workload import Workload

TASKS = st.integers(MIN_TASK_SECONDS, MAX_TASK_SECONDS).map(
    lambda seconds: Timing(longest_task_seconds=seconds)
)


def test_defaults_give_each_pod_a_minute_of_work() -> None:
    assert Scaling().tasks_per_replica == 12


@pytest.mark.parametrize(
    ("tasks", "pods"), [(0, 0), (1, 1), (12, 1), (13, 2), (100, 9), (108, 9), (109, 10), (999, 10)]
)
def test_pods_for_tasks_are_as_the_documentation_says(tasks: int, pods: int) -> None:
    assert Scaling().replicas_for(tasks) == pods


@given(
    tasks=st.integers(0, 100_000),
    fewest=st.integers(0, 50),
    more=st.integers(1, 50),
    target=st.integers(60, 3_600),
)
def test_never_leaves_the_limits(tasks: int, fewest: int, more: int, target: int) -> None:
    scaling = Scaling(
        min_replicas=fewest,
        max_replicas=fewest + more,
        target_latency=Duration.seconds(target),
    )
    pods = scaling.replicas_for(tasks)
    assert fewest <= pods <= fewest + more
    # No pod is there for nothing, and none has more to do than it can unless all are there.
    assert pods == fewest or (pods - 1) * scaling.tasks_per_replica < tasks
    assert pods == fewest + more or tasks <= pods * scaling.tasks_per_replica


def test_every_field_of_the_scaled_object_follows_from_it() -> None:
    scaling = Scaling(
        target_latency=Duration.seconds(90),
        seconds_per_image=4,
        min_replicas=2,
        max_replicas=30,
        cooldown=Duration.minutes(7),
        scale_down_stabilization=Duration.minutes(3),
    )
    workload = Workload(name="sdxl", namespace="stable-diffusion")
    spec = workload.scaled_object(scaling=scaling, queue_urls=["https://q"], region="eu-west-1")[
        "spec"
    ]
    assert spec["minReplicaCount"] == 2
    assert spec["maxReplicaCount"] == 30
    assert spec["cooldownPeriod"] == 420
    assert spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"] == {
        "stabilizationWindowSeconds": 180,
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
    }
    (trigger,) = spec["triggers"]
    assert trigger["metadata"]["queueLength"] == "22"


@pytest.mark.parametrize("min_replicas", [0, 2])
def test_a_queue_that_cannot_be_read_is_not_taken_for_empty(min_replicas: int) -> None:
    workload = Workload(name="sdxl", namespace="stable-diffusion")
    manifest = workload.scaled_object(
        scaling=Scaling(min_replicas=min_replicas), queue_urls=["https://q"], region="eu-west-1"
    )
    # With a fallback to no replicas, KEDA 2.20 ends busy pods after the cooldown.
    assert "fallback" not in manifest["spec"]


def test_a_task_as_long_as_the_target_has_its_own_pod() -> None:
    scaling = Scaling(target_latency=Duration.seconds(45), seconds_per_image=45)
    assert scaling.tasks_per_replica == 1


@given(
    seconds_per_image=st.floats(0.05, 600, allow_nan=False),
    spare=st.integers(0, 3_600),
    tasks=st.integers(1, 10_000),
)
def test_the_last_task_meets_the_target_once_pods_run(
    seconds_per_image: float, spare: int, tasks: int
) -> None:
    target = math.ceil(seconds_per_image) + spare
    scaling = Scaling(target_latency=Duration.seconds(target), seconds_per_image=seconds_per_image)
    replicas = math.ceil(tasks / scaling.tasks_per_replica)
    last = math.ceil(tasks / replicas) * seconds_per_image
    assert last <= target * (1 + 1e-9)


@given(TASKS)
def test_a_task_that_is_running_is_not_given_to_another_pod(timing: Timing) -> None:
    assert timing.longest_task_seconds < timing.visibility_seconds <= 12 * 3_600


@given(TASKS)
def test_a_node_outlives_its_pod_and_goes_within_ten_minutes(timing: Timing) -> None:
    assert timing.drain_seconds < timing.pod_grace_seconds < timing.node_grace_seconds <= 600


@given(TASKS)
def test_drains_no_longer_than_the_longest_task(timing: Timing) -> None:
    assert timing.drain_seconds <= timing.longest_task_seconds
