"""Workloads and setups for tests of the simulation: small, and plain unless said otherwise."""

from __future__ import annotations

from typing import Any

from cdk_stable_diffusion.planning import (
    Autoscaling,
    CacheSizes,
    Demand,
    Lanes,
    Loading,
    Models,
    Nodes,
    Setup,
    SharedQueue,
    Workload,
)

FREE = Loading(s3_seconds=0, disk_seconds=0, ram_seconds=0)
SLOW = Loading(s3_seconds=10, disk_seconds=4, ram_seconds=1.5)
"""As in the project's design: ten seconds from S3."""


def workload(
    rate: float = 1.0,
    *,
    hours: int = 1,
    models: Models | None = None,
    loading: Loading = FREE,
    seconds: float = 1.0,
    variation: float = 0.0,
    seed: int = 1,
    **nodes: Any,
) -> Workload:
    """A workload of so many tasks a second."""
    return Workload(
        demand=Demand(
            tasks_per_minute=(60 * rate,),
            hours=hours,
            seconds_per_picture=seconds,
            variation=variation,
        ),
        models=models or Models.zipf(1, gibibytes=1),
        loading=loading,
        nodes=Nodes(gpu_hour_dollars=1, **nodes),
        seed=seed,
    )


def setup(
    routing: SharedQueue | Lanes | None = None,
    *,
    replicas: int = 1,
    autoscaling: Autoscaling | None = None,
    gpu: float | None = None,
    ram: float = 0.0,
    disk: float = 0.0,
    ahead: float = 0.0,
    overhead: float = 0.0,
) -> Setup:
    """A setup of a fixed number of replicas."""
    return Setup(
        name="tested",
        routing=routing or SharedQueue(),
        cache=CacheSizes(gpu_gibibytes=gpu, ram_gibibytes=ram, disk_gibibytes=disk),
        autoscaling=autoscaling or Autoscaling.fixed(replicas),
        lookahead_seconds=ahead,
        overhead_seconds=overhead,
    )
