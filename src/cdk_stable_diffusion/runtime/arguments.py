"""The checks of a runtime's arguments."""

from __future__ import annotations

import math
from functools import partial

from aws_cdk import Duration
from constructs import Construct

from .._validation import A_WHOLE_NUMBER, Faults
from ..api import SdApi
from ..cluster import Priority, RuntimeCluster
from ..contract.names import is_model_name
from .batching import A_BATCHING, Batching
from .claims import Claims
from .disk import BYTES_OF_A_GIBIBYTE, DiskUse
from .engine import Engine
from .finishing import Finishing, check_finishing
from .gpu_nodes import GpuNodes
from .image import RuntimeImage
from .input_images import InputImages
from .model import Model
from .model_cache import ModelCache
from .naming import check_name
from .node_checks import (
    A_CLUSTER,
    attempt,
    check_cache_stack,
    check_grace,
    check_memory_cache,
    check_model_cache,
    check_nodes,
)
from .own_cache import check_cache
from .pool import SdNodePool
from .scaling import Scaling
from .seconds import check_seconds, whole_seconds
from .stacks import check_stacks
from .timing import MAX_TASK_SECONDS, MIN_TASK_SECONDS, Timing
from .tries import MAX_TRIES

_A_SCALING = "a Scaling, such as Scaling(max_replicas=3)"
_SOME_NODES = "a GpuNodes, such as GpuNodes(max_gpus=3), or an SdNodePool"


def check_runtime(
    *,
    scope: Construct,
    where: str,
    name: str,
    api: SdApi,
    cluster: RuntimeCluster,
    model: Model,
    longest_task: Duration | None,
    max_receive_count: int,
    scaling: Scaling,
    priority: Priority,
    nodes: GpuNodes | SdNodePool,
    image: RuntimeImage,
    model_cache_gibibytes: int,
    batching: Batching,
    engine: Engine,
    input_images: InputImages,
    finishing: Finishing,
) -> None:
    """Check all arguments of a runtime, and take its name and its models.

    Args:
        scope: Its parent.
        where: The runtime.
        name: See `SdRuntime`.
        api: See `SdRuntime`.
        cluster: See `SdRuntime`.
        model: See `SdRuntime`.
        longest_task: See `SdRuntime`.
        max_receive_count: See `SdRuntime`.
        scaling: See `SdRuntime`.
        priority: See `SdRuntime`.
        nodes: See `SdRuntime`.
        image: See `SdRuntime`.
        model_cache_gibibytes: See `SdRuntime`.
        batching: See `SdRuntime`.
        engine: See `SdRuntime`.
        input_images: See `SdRuntime`.
        finishing: See `SdRuntime`.

    Raises:
        ValueError: Naming every argument that is wrong.
    """
    faults = Faults()
    claims = Claims(faults)
    is_api = faults.check_type("api", api, SdApi, "an SdApi")
    is_cluster = faults.check_type("cluster", cluster, RuntimeCluster, A_CLUSTER)
    is_model = faults.check_type("model", model, Model, _model_hint(model))
    is_image = faults.check_type("image", image, RuntimeImage, _image_hint(image))
    hint = "an Engine, such as Engine.comfyui(image=...)"
    is_engine = faults.check_type("engine", engine, Engine, hint)
    if is_engine and is_image:
        faults.check(
            engine.image is None or not image.models,
            f"image carries models, which {engine.name} in its own container cannot see: put them "
            "into the model bucket",
        )
    timing = _timing(faults, longest_task)
    _check_tries(faults, max_receive_count)
    is_size = check_model_cache(faults, model_cache_gibibytes)
    is_scaling = faults.check_type("scaling", scaling, Scaling, _A_SCALING)
    faults.check_type("priority", priority, Priority, "a Priority, such as Priority.HIGH")
    _check_own_engine(
        faults, engine if is_engine else None, batching, model.cache if is_model else None
    )
    check_finishing(
        faults, finishing, image=image if is_image else None, engine=engine if is_engine else None
    )
    is_nodes = faults.check_type("nodes", nodes, (GpuNodes, SdNodePool), _SOME_NODES)
    needs: dict[str, object] = {"api": api, "cluster": cluster, "nodes": nodes}
    hint = "an InputImages, such as InputImages(hosts=('images.example.com',))"
    if faults.check_type("input_images", input_images, InputImages, hint):
        output_bucket = api.output_bucket if is_api else None
        input_images._check_runtime(faults, scope=scope, output_bucket=output_bucket)
        needs |= input_images._needs
    if is_nodes and is_model:
        _check_memory_cache(faults, nodes, model.cache)
    if is_api and is_cluster and is_nodes:
        check_stacks(faults, scope, needs)
    has_use = is_size and is_image and is_engine
    use = disk_use(image, model_cache_gibibytes, engine) if has_use else None
    min_replicas = scaling.min_replicas if is_scaling else 0
    if is_cluster and isinstance(nodes, SdNodePool):
        nodes._check_runtime(
            faults, cluster=cluster, timing=timing, use=use, min_replicas=min_replicas
        )
    elif is_cluster and is_nodes:
        assert isinstance(nodes, GpuNodes)
        _check_own_nodes(
            faults,
            cluster=cluster,
            name=name,
            nodes=nodes,
            timing=timing,
            use=use,
            min_replicas=min_replicas,
        )
        check_cache_stack(faults, scope, nodes)
        needs_cache = nodes.image_start._needs_cache and not cluster.compute.is_auto_mode
        if is_image and is_engine and needs_cache:
            attempt(faults, partial(check_cache, cluster, nodes, images_of(image, engine)))
    if check_name(faults, name):
        if is_api and is_model:
            claims.take_route(
                api.routes, name, model, _lanes(model, scaling if is_scaling else None)
            )
        if is_cluster:
            claims.take_name(cluster._runtime_names, name)
            if isinstance(nodes, GpuNodes):
                claims.take_name(cluster._pool_names, name)
    claims.raise_if_any(where)


def _check_tries(faults: Faults, max_receive_count: int) -> None:
    if faults.check_type("max_receive_count", max_receive_count, int, A_WHOLE_NUMBER):
        faults.check(
            1 <= max_receive_count <= MAX_TRIES,
            f"max_receive_count is {max_receive_count}: 1 to {MAX_TRIES}",
        )


def _lanes(model: Model, scaling: Scaling | None) -> int:
    """Return how many lanes a runtime has, or as few as it can have where its scaling is wrong."""
    if scaling is not None:
        return model.lanes_for(scaling.max_replicas)
    return model.lanes or max([1, *model.spread.values()])


def _check_own_engine(
    faults: Faults, engine: Engine | None, batching: Batching, cache: ModelCache | None
) -> None:
    """Check what only the package's own engine does."""
    is_other = engine is not None and engine.image is not None
    if faults.check_type("batching", batching, Batching, A_BATCHING) and engine is not None:
        faults.check(
            batching.tasks == 1 or not is_other,
            f"batching is Batching.up_to({batching.tasks}), and {engine.name} draws one task after "
            "the other: only Engine.diffusers() shares passes",
        )
    if cache is not None and engine is not None:
        faults.check(
            not cache.memory_gibibytes or not is_other,
            f"model.cache is {cache}, and {engine.name} keeps what models it likes: only "
            "Engine.diffusers() keeps them as that says",
        )


def _check_memory_cache(faults: Faults, nodes: GpuNodes | SdNodePool, cache: ModelCache) -> None:
    """Check that nodes have the memory that pods ask for because of what they keep of models."""
    if isinstance(nodes, GpuNodes):
        check_memory_cache(faults, nodes, cache, pods=nodes.gpus_per_node)
    else:
        # The others on the node may be of runtimes that keep less.
        check_memory_cache(faults, nodes.nodes, cache, pods=1)


def images_of(image: RuntimeImage, engine: Engine) -> list[RuntimeImage]:
    """Return the images of a runtime's pods.

    Args:
        image: The agent's.
        engine: Its engine.
    """
    return [image] if engine.image is None else [image, engine.image]


def disk_use(image: RuntimeImage, model_cache_gibibytes: int, engine: Engine) -> DiskUse:
    """Return what a runtime needs of the disk of its nodes.

    Args:
        image: Its image.
        model_cache_gibibytes: Its model cache.
        engine: Its engine.
    """
    return DiskUse(
        model_cache_gibibytes=model_cache_gibibytes,
        image_models_gibibytes=math.ceil(image.model_bytes / BYTES_OF_A_GIBIBYTE),
        has_engine=engine.image is not None,
    )


def _check_own_nodes(
    faults: Faults,
    *,
    cluster: RuntimeCluster,
    name: str,
    nodes: GpuNodes,
    timing: Timing | None,
    use: DiskUse | None,
    min_replicas: int,
) -> None:
    if use is not None:
        check_nodes(faults, cluster=cluster, name=name, nodes=nodes, use=use)
    if timing is not None:
        check_grace(faults, nodes, timing)
    if nodes.max_gpus is not None:
        faults.check(
            nodes.max_gpus >= min_replicas,
            f"nodes.max_gpus is {nodes.max_gpus}: at least scaling.min_replicas, {min_replicas}, "
            "since each pod needs a GPU",
        )


def _timing(faults: Faults, longest_task: Duration | None) -> Timing | None:
    """Return the times that follow from the longest task, or None where it is wrong."""
    before = len(faults.messages)
    check_seconds(
        faults, "longest_task", longest_task, least=MIN_TASK_SECONDS, most=MAX_TASK_SECONDS
    )
    if len(faults.messages) > before:
        return None
    return Timing(longest_task_seconds=whole_seconds(longest_task, default=300))


def _model_hint(model: object) -> str:
    name = model if isinstance(model, str) and is_model_name(model) else "sdxl"
    return f"a Model, such as Model.static({name!r})"


def _image_hint(image: object) -> str:
    uri = image if isinstance(image, str) else "registry/name@sha256:..."
    return f"a RuntimeImage, such as RuntimeImage.from_registry({uri!r})"
