"""Mistakes that the constructs refuse, or have no words for, before there is a manifest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import Duration, Size

from cdk_stable_diffusion.cluster import Compute
from cdk_stable_diffusion.runtime import (
    DisruptionBudget,
    DisruptionReason,
    DisruptionWindow,
    GpuNodes,
    ImageStart,
    Model,
    Scaling,
)
from tests.unit.runtime.light_cluster import light_service


def runtime(compute: Compute | None = None, **arguments: Any) -> Any:
    service = light_service(compute=compute or Compute.karpenter())
    return service.add_runtime("Sdxl", Model.static("sdxl"), **arguments)


UNTYPED: Any = GpuNodes
UNTYPED_START: Any = ImageStart
UNTYPED_WINDOW: Any = DisruptionWindow
UNTYPED_SCALING: Any = Scaling

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "fewest above most": (
        lambda: Scaling(min_replicas=20, max_replicas=10),
        "min_replicas is 20: 0 to max_replicas, 10",
    ),
    "cooldown as text": (
        lambda: UNTYPED_SCALING(cooldown="300s"),
        "cooldown is '300s': a Duration",
    ),
    "cooldown as a number": (
        lambda: UNTYPED_SCALING(cooldown=300),
        "cooldown is 300: a Duration",
    ),
    "number as text": (
        lambda: UNTYPED(max_gpus="3"),
        "max_gpus is '3': a whole number",
    ),
    "family as text": (
        lambda: UNTYPED(families="g6"),
        "families is 'g6': a tuple of instance families",
    ),
    "family with another maker's GPUs": (
        lambda: GpuNodes(families=("g4ad",)),
        "families names 'g4ad': its GPUs are AMD's",
    ),
    "memory that no instance has": (
        lambda: GpuNodes(min_gpu_memory_gibibytes=80),
        "min_gpu_memory_gibibytes",
    ),
    "age below an hour": (
        lambda: GpuNodes(expire_after=Duration.minutes(5)),
        "expire_after is 300 seconds: at least 3600",
    ),
    "grace longer than a deletion may take": (
        lambda: GpuNodes(termination_grace=Duration.minutes(20)),
        "termination_grace is 1200 seconds: 60 to 600",
    ),
    "budget that keeps idle nodes for ever": (
        lambda: DisruptionBudget.of_nodes(0, DisruptionReason.EMPTY),
        "count is 0 at all times",
    ),
    "schedule that is none": (
        lambda: DisruptionWindow(schedule="every day", duration=Duration.hours(1)),
        "schedule is 'every day': a cron schedule",
    ),
    "snapshot that is none": (
        lambda: ImageStart.snapshot("ami-0123", volume=Size.gibibytes(50)),
        "source is 'ami-0123'",
    ),
    "snapshot without its size": (
        lambda: ImageStart.snapshot("snap-0123456789abcdef0"),
        "volume is None",
    ),
    "rate that EBS does not have": (
        lambda: ImageStart.snapshot(initialization_mebibytes_per_second=500),
        "initialization_mebibytes_per_second is 500: 100 to 300",
    ),
    "snapshot in Auto Mode": (
        lambda: runtime(Compute.auto_mode(), nodes=GpuNodes(image_start=ImageStart.snapshot())),
        "nodes.image_start is ImageStart.snapshot(): EKS Auto Mode",
    ),
    "fewer GPUs than pods that always run": (
        lambda: runtime(nodes=GpuNodes(max_gpus=1), scaling=Scaling(min_replicas=2)),
        "nodes.max_gpus is 1: at least scaling.min_replicas, 2",
    ),
    "task that outlasts its node's grace": (
        lambda: runtime(
            nodes=GpuNodes(termination_grace=Duration.minutes(2)),
            longest_task=Duration.minutes(5),
        ),
        "nodes.termination_grace is 120 seconds: at least 390",
    ),
    "cache that no local disk has room for": (
        lambda: runtime(model_cache_gibibytes=5_000),
        "model_cache_gibibytes",
    ),
    "name that is none": (
        lambda: runtime(name="Two Words"),
        "name is 'Two Words'",
    ),
    "zone that the cluster has no subnet in": (
        lambda: runtime(nodes=GpuNodes(zones=("eu-west-1c",))),
        "nodes.zones names 'eu-west-1c'",
    ),
}


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED)
def test_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(ValueError, match=r"^(Scaling|GpuNodes|Disrupt|ImageStart|SdRuntime)") as it:
        make()
    assert says in str(it.value)


CANNOT_BE_WRITTEN: dict[str, tuple[Callable[[], Any], str]] = {
    "another consolidation policy": (
        lambda: UNTYPED(consolidation_policy="WhenUnderutilized"),
        "consolidation_policy",
    ),
    "weight": (lambda: UNTYPED(weight=5), "weight"),
    "static pool": (lambda: UNTYPED(replicas=1), "replicas"),
    "snapshot with another snapshotter": (
        lambda: UNTYPED_START.snapshot("snap-0123456789abcdef0", snapshotter="soci"),
        "snapshotter",
    ),
    "snapshot with an array of local disks": (
        lambda: UNTYPED_START.snapshot("snap-0123456789abcdef0", raid0=True),
        "raid0",
    ),
    "schedule without a duration": (lambda: UNTYPED_WINDOW(schedule="@daily"), "duration"),
    "duration without a schedule": (
        lambda: UNTYPED_WINDOW(duration=Duration.hours(1)),
        "schedule",
    ),
    "misspelt argument": (lambda: UNTYPED_SCALING(max_replica=3), "max_replica"),
}


@pytest.mark.parametrize(("make", "says"), CANNOT_BE_WRITTEN.values(), ids=CANNOT_BE_WRITTEN)
def test_cannot_be_written(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        make()
