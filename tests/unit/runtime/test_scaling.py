"""The arithmetic of scaling and of times."""

from __future__ import annotations

import math

from aws_cdk import Duration
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime import Scaling
from cdk_stable_diffusion.runtime.timing import MAX_TASK_SECONDS, MIN_TASK_SECONDS, Timing

TASKS = st.integers(MIN_TASK_SECONDS, MAX_TASK_SECONDS).map(
    lambda seconds: Timing(longest_task_seconds=seconds)
)


def test_defaults_give_each_pod_a_minute_of_work() -> None:
    assert Scaling().tasks_per_replica == 12


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
