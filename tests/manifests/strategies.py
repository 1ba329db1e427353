"""Arguments of runtimes and pools, whatever is allowed."""

from __future__ import annotations

import math
from typing import Any

from aws_cdk import Duration, Size
from hypothesis import strategies as st

from cdk_stable_diffusion.cluster import Compute, Priority
from cdk_stable_diffusion.runtime import (
    Capacity,
    DisruptionBudget,
    DisruptionReason,
    DisruptionWindow,
    Engine,
    GpuNodes,
    ImageStart,
    RuntimeImage,
    Scaling,
)
from cdk_stable_diffusion.runtime.disk import DiskUse
from cdk_stable_diffusion.runtime.timing import MAX_TASK_SECONDS, MIN_TASK_SECONDS, Timing

SNAPSHOT_ID = "snap-0123456789abcdef0"

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
COMPUTES = st.sampled_from([Compute.karpenter(), Compute.auto_mode()])
PRIORITIES = st.sampled_from(Priority)
TIMINGS = st.integers(MIN_TASK_SECONDS, MAX_TASK_SECONDS).map(
    lambda seconds: Timing(longest_task_seconds=seconds)
)
DISK_USES = st.builds(
    DiskUse,
    model_cache_gibibytes=st.integers(1, 1_000),
    image_models_gibibytes=st.integers(0, 100),
    has_engine=st.booleans(),
)

_ENGINE_IMAGE = RuntimeImage.from_registry("registry.example/engine@sha256:" + "e" * 64)
ENGINES = st.sampled_from(
    [
        Engine.diffusers(),
        Engine.sdwebui(image=_ENGINE_IMAGE),
        Engine.comfyui(image=_ENGINE_IMAGE, command=["python", "main.py"], environment={"A": "b"}),
    ]
)

_WINDOWS = st.builds(
    DisruptionWindow,
    schedule=st.sampled_from(["@daily", "@weekly", "0 9 * * mon-fri", "*/15 0-5 1,15 * ?"]),
    duration=st.integers(1, 1_440).map(Duration.minutes),
)
_REASONS = st.lists(st.sampled_from(DisruptionReason), unique=True).map(tuple)


@st.composite
def _budgets(draw: st.DrawFn) -> DisruptionBudget:
    window = draw(st.none() | _WINDOWS)
    # Without a window, none at all would keep empty nodes for ever.
    value = draw(st.integers(0 if window else 1, 100))
    make = draw(st.sampled_from([DisruptionBudget.of_nodes, DisruptionBudget.of_percent]))
    return make(value, *draw(_REASONS), during=window)


def image_starts(*, snapshot: bool) -> st.SearchStrategy[ImageStart]:
    """Return ways to start with the image.

    Args:
        snapshot: Whether a snapshot is among them.
    """
    snapshots = st.builds(
        ImageStart.snapshot,
        st.just(SNAPSHOT_ID),
        volume=st.integers(1, 500).map(Size.gibibytes),
        initialization_mebibytes_per_second=st.integers(100, 300),
        throughput_mebibytes_per_second=st.integers(125, 1_000),
    )
    pulls = st.just(ImageStart.parallel_pull())
    return snapshots | pulls if snapshot else pulls


@st.composite
def gpu_nodes(draw: st.DrawFn, *, snapshot: bool = True) -> GpuNodes:
    """Return nodes of which there are instance types.

    Args:
        draw: Draws from other strategies.
        snapshot: Whether they may start from a snapshot.
    """
    gpus = draw(st.sampled_from([1, 4, 8]))
    others = draw(st.lists(st.sampled_from(["g4dn", "g5", "g6", "gr6", "p5"]), unique=True))
    return GpuNodes(
        # Has instances with each of these numbers of GPUs.
        families=("g6e", *others),
        gpus_per_node=gpus,
        min_gpu_memory_gibibytes=draw(st.integers(1, 44)),
        max_vcpus=draw(st.sampled_from([None, 192])),
        capacity=draw(st.sampled_from(Capacity)),
        zones=draw(st.sampled_from([None, ("eu-west-1a",), ("eu-west-1a", "eu-west-1b")])),
        max_gpus=draw(st.none() | st.integers(1, 100).map(lambda nodes: nodes * gpus)),
        consolidate_after=draw(st.none() | st.integers(0, 3_600).map(Duration.seconds)),
        expire_after=draw(st.none() | st.integers(1, 21 * 24).map(Duration.hours)),
        budgets=draw(st.none() | st.lists(_budgets(), min_size=1, max_size=5).map(tuple)),
        termination_grace=draw(st.none() | st.just(Duration.minutes(10))),
        image_start=draw(image_starts(snapshot=snapshot)),
    )


@st.composite
def scalings(draw: st.DrawFn) -> Scaling:
    """Return any scaling."""
    most = draw(st.integers(1, 1_000))
    seconds_per_image = draw(st.floats(0.01, 3_600))
    return Scaling(
        target_latency=Duration.seconds(draw(st.integers(math.ceil(seconds_per_image), 86_400))),
        seconds_per_image=seconds_per_image,
        min_replicas=draw(st.integers(0, most)),
        max_replicas=most,
        cooldown=Duration.seconds(draw(st.integers(0, 86_400))),
        scale_down_stabilization=Duration.seconds(draw(st.integers(0, 3_600))),
    )


@st.composite
def runtimes(draw: st.DrawFn) -> dict[str, Any]:
    """Return arguments of an `SdRuntime` with nodes of its own, in a cluster with Karpenter."""
    nodes = draw(gpu_nodes())
    scaling = draw(scalings())
    if nodes.max_gpus is not None and nodes.max_gpus < scaling.min_replicas:
        scaling = Scaling()
    return {
        "nodes": nodes,
        "scaling": scaling,
        "priority": draw(PRIORITIES),
        "longest_task": Duration.seconds(draw(st.integers(MIN_TASK_SECONDS, 480))),
        "model_cache_gibibytes": draw(st.integers(1, 100)),
        "engine": draw(ENGINES),
    }
