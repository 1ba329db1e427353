"""Documents of the contract, made up by hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from cdk_stable_diffusion.contract import (
    TASK_TYPES,
    Adapter,
    AgentEnvironment,
    GenerationDefaults,
    HandlerEnvironment,
    ImageOutput,
    ModelFile,
    ModelManifest,
    Parameters,
    ResultMessage,
    RouteTable,
    TaskError,
    TaskMessage,
    TaskProgress,
    TaskReference,
    TaskRequest,
    Timings,
    limits,
)
from cdk_stable_diffusion.contract.engines import DIFFUSERS, ENGINES
from cdk_stable_diffusion.contract.model_kind import MODEL_KINDS
from cdk_stable_diffusion.contract.progress import PROGRESS_STATUSES
from cdk_stable_diffusion.contract.result import CONTENT_TYPES, ERROR_CODES, STATUSES
from cdk_stable_diffusion.contract.task import OUTPUT_FORMATS, SCHEDULERS

characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
model_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
runtime_names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
prefixes = st.just("") | st.from_regex(
    r"[A-Za-z0-9_=-][A-Za-z0-9._=-]{0,8}(/[a-z0-9]{1,5}){0,3}/?", fullmatch=True
)
seeds = st.integers(0, limits.MAX_SEED)
sides = st.integers(8, 64).map(lambda eighths: eighths * limits.SIDE_MULTIPLE_PIXELS)
steps = st.integers(limits.MIN_STEPS, limits.MAX_STEPS)
guidance = st.floats(limits.MIN_GUIDANCE_SCALE, limits.MAX_GUIDANCE_SCALE)
hashes = st.from_regex("[0-9a-f]{64}", fullmatch=True)
moments = st.datetimes().map(
    lambda m: f"{m:%Y}".zfill(4) + f"-{m:%m-%dT%H:%M:%S}.{m.microsecond // 1000:03d}Z"
)
traces = st.from_regex("00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", fullmatch=True)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(characters, max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(characters, max_size=5), inner, max_size=3)
    ),
    max_leaves=10,
)


def or_none(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


references = (
    st.from_regex(r"s3://[a-z0-9]{3,10}/[a-z/.]{1,10}", fullmatch=True)
    | st.from_regex(r"https://[a-z]{1,5}\.org/[a-z]{0,5}", fullmatch=True)
    | st.from_regex(r"data:image/png;base64,[A-Za-z0-9+/]{1,20}={0,2}", fullmatch=True)
)
strengths = or_none(st.floats(limits.MIN_STRENGTH, limits.MAX_STRENGTH))
clip_skips = st.integers(limits.MIN_CLIP_SKIP, limits.MAX_CLIP_SKIP)
everywhere = {
    "model": model_names,
    "output_format": st.sampled_from(OUTPUT_FORMATS),
    "output_prefix": prefixes.map(lambda prefix: prefix.rstrip("/")),
    "context": json_values,
    "idempotency_key": or_none(st.from_regex("[A-Za-z0-9._:/+=@-]{1,20}", fullmatch=True)),
}
adapters = st.lists(
    st.builds(
        Adapter,
        name=model_names,
        weight=st.floats(limits.MIN_ADAPTER_WEIGHT, limits.MAX_ADAPTER_WEIGHT),
    ),
    max_size=limits.MAX_ADAPTERS,
    unique_by=lambda adapter: adapter.name,
).map(tuple)
embeddings = st.lists(model_names, max_size=limits.MAX_EMBEDDINGS, unique=True).map(tuple)
control_scales = or_none(st.floats(limits.MIN_CONTROL_SCALE, limits.MAX_CONTROL_SCALE))
drawing = {
    **everywhere,
    "prompt": st.text(characters, min_size=1, max_size=40),
    "negative_prompt": st.text(characters, max_size=40),
    "width": or_none(sides),
    "height": or_none(sides),
    "steps": or_none(steps),
    "guidance_scale": or_none(guidance),
    "seed": or_none(seeds),
    "num_images": st.integers(1, limits.MAX_IMAGES),
    "scheduler": or_none(st.sampled_from(SCHEDULERS)),
    "clip_skip": or_none(clip_skips),
}
text_to_image = st.builds(TaskRequest, **drawing)
image_to_image = st.builds(
    TaskRequest,
    task_type=st.just("image-to-image"),
    image=references,
    strength=strengths,
    **drawing,
)
inpainting = st.builds(
    TaskRequest,
    task_type=st.just("inpainting"),
    image=references,
    mask=references,
    strength=strengths,
    **drawing,
)
upscale = st.builds(
    TaskRequest,
    task_type=st.just("upscale"),
    prompt=st.text(characters, max_size=40),
    negative_prompt=st.text(characters, max_size=40),
    steps=or_none(steps),
    guidance_scale=or_none(guidance),
    seed=or_none(seeds),
    image=references,
    scale=st.sampled_from([2, 4]),
    **everywhere,
)
additions = {
    "adapters": adapters,
    "embeddings": embeddings,
    "vae": or_none(model_names),
}
with_additions = st.builds(TaskRequest, **drawing, **additions)
controlled = st.builds(
    TaskRequest,
    task_type=st.just("image-to-image"),
    image=references,
    control_image=references,
    control_scale=control_scales,
    **drawing,
    **additions,
)
requests = text_to_image | image_to_image | inpainting | upscale | with_additions | controlled
classes = st.sampled_from(["static", "dynamic"])
task_messages = st.builds(
    TaskMessage,
    task_id=st.uuids().map(str),
    submitted_at=moments,
    runtime=runtime_names,
    runtime_class=classes,
    request=requests,
    traceparent=or_none(traces),
)
seconds = st.floats(0, 86_400)
result_messages = st.builds(
    ResultMessage,
    task_id=st.uuids().map(str),
    status=st.sampled_from(STATUSES),
    model=model_names,
    runtime=runtime_names,
    runtime_class=classes,
    task_type=st.sampled_from(TASK_TYPES),
    timings=st.builds(
        Timings,
        submitted_at=moments,
        started_at=moments,
        finished_at=moments,
        waiting_seconds=seconds,
        loading_seconds=seconds,
        generating_seconds=seconds,
        delivering_seconds=seconds,
    ),
    images=st.lists(
        st.builds(
            ImageOutput,
            bucket=st.just("pictures"),
            key=st.text(characters, min_size=1, max_size=20),
            content_type=st.sampled_from(CONTENT_TYPES),
            width=or_none(sides),
            height=or_none(sides),
            size_bytes=st.integers(1, 10**9),
            sha256=hashes,
            seed=seeds,
        ),
        max_size=3,
    ).map(tuple),
    parameters=or_none(
        st.builds(
            Parameters,
            width=or_none(sides),
            height=or_none(sides),
            steps=or_none(steps),
            guidance_scale=or_none(guidance),
            seed=seeds,
            scheduler=or_none(st.sampled_from(SCHEDULERS)),
            strength=strengths,
            scale=or_none(st.sampled_from([2, 4])),
            **additions,
            control_scale=control_scales,
            clip_skip=or_none(clip_skips),
            safety_checker=st.sampled_from([None, "model", "checks.own:is_unsafe"]),
            watermark=st.sampled_from([None, "text=made by a machine", "checks.own:mark"]),
        )
    ),
    error=or_none(
        st.builds(
            TaskError,
            code=st.sampled_from(ERROR_CODES),
            detail=st.text(characters, max_size=40),
        )
    ),
    attempt=st.integers(1, 100),
    context=json_values,
)
progress_reports = st.builds(
    TaskProgress,
    task_id=st.uuids().map(str),
    status=st.sampled_from(PROGRESS_STATUSES),
    updated_at=or_none(moments),
    model=or_none(model_names),
    runtime=or_none(runtime_names),
    attempt=or_none(st.integers(1, 100)),
    started_at=or_none(moments),
    step=or_none(st.integers(0, 300)),
    steps=or_none(st.integers(0, 300)),
)
task_references = st.builds(
    TaskReference,
    task_id=st.uuids().map(str),
    output_prefix=prefixes.map(lambda prefix: prefix.rstrip("/")),
)
paths = st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,8}(/[A-Za-z0-9_-]{1,5}){0,3}", fullmatch=True)
manifests = st.builds(
    ModelManifest,
    name=model_names,
    files=st.lists(
        st.builds(ModelFile, path=paths, size=st.integers(0, 10**12), sha256=hashes),
        max_size=4,
        unique_by=lambda file: file.path,
    ).map(tuple),
    defaults=st.builds(
        GenerationDefaults,
        steps=or_none(steps),
        guidance_scale=or_none(guidance),
        width=or_none(sides),
        height=or_none(sides),
        scheduler=or_none(st.sampled_from(SCHEDULERS)),
        clip_skip=or_none(clip_skips),
    ),
    kind=st.sampled_from(MODEL_KINDS),
)
lane_counts = st.integers(1, 12)


@st.composite
def route_tables(draw: st.DrawFn, lanes: st.SearchStrategy[int] = lane_counts) -> RouteTable:
    """The runtimes of an API, no two of which have one name."""
    dynamic = draw(or_none(runtime_names))
    count = draw(lanes) if dynamic else 1
    return RouteTable(
        static=draw(
            st.dictionaries(
                model_names, runtime_names.filter(lambda name: name != dynamic), max_size=4
            )
        ),
        dynamic=dynamic,
        hosts=draw(
            st.dictionaries(
                runtime_names,
                or_none(st.lists(st.just("images.example.org"), max_size=2).map(tuple)),
                max_size=2,
            )
        ),
        lanes=count,
        spread=draw(st.dictionaries(model_names, st.integers(1, count), max_size=2)),
    )


texts = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20)
handler_environments = st.builds(
    HandlerEnvironment,
    request_topic_arn=texts,
    output_bucket=texts,
    model_bucket=texts,
    routes=route_tables().map(lambda table: table.to_json()),
)


@st.composite
def _lanes(draw: st.DrawFn, queue_url: str, *, is_static: bool) -> dict[str, Any]:
    """What an agent knows of lanes and of others of its runtime, with its cache in memory."""
    others = () if is_static else tuple(draw(st.lists(texts, max_size=3)))
    lanes = (queue_url, *others) if others else ()
    place = draw(st.sampled_from(["", "members_directory", "members_service"]))
    return {
        "lane_queue_urls": lanes,
        "overflow_queue_url": draw(texts.filter(lambda url: url not in lanes)) if lanes else "",
        "replica_name": draw(st.just("") | texts),
        **({place: "stable-diffusion/any-members"} if place else {}),
        "steal_after_milliseconds": draw(st.integers(0, 60_000)),
        "memory_cache_bytes": draw(st.integers(0, 10**12)),
    }


@st.composite
def agent_environments(draw: st.DrawFn) -> AgentEnvironment:
    """An agent's settings: a static runtime names models, a dynamic one does not."""
    models = tuple(draw(st.lists(model_names, max_size=3)))
    engine = draw(st.sampled_from(ENGINES))
    is_own = engine == DIFFUSERS
    queue_url = draw(texts)
    return AgentEnvironment(
        queue_url=queue_url,
        dead_letter_queue_url=draw(texts),
        result_topic_arn=draw(texts),
        output_bucket=draw(texts),
        model_bucket=draw(texts),
        runtime_name=draw(runtime_names),
        runtime_class="static" if models else "dynamic",
        models=models,
        lease_seconds=draw(st.integers(5, 43_200)),
        task_timeout_seconds=draw(st.integers(1, 10_000)),
        drain_seconds=draw(st.integers(0, 10_000)),
        max_receive_count=draw(st.integers(1, 1_000)),
        model_cache_directory=draw(texts),
        model_cache_bytes=draw(st.integers(1, 10**13)),
        health_port=draw(st.integers(0, 65_535)),
        image_models_directory=draw(st.just("") | texts),
        input_buckets=tuple(draw(st.lists(texts, max_size=2))),
        input_hosts=tuple(draw(st.lists(st.just("images.example.org"), max_size=1))),
        max_input_bytes=draw(st.integers(1, 10**9)),
        max_input_pixels=draw(st.integers(1, 10**9)),
        engine=engine,
        engine_url="" if is_own else f"http://127.0.0.1:{draw(st.integers(1, 65_535))}",
        engine_directory="" if is_own else draw(texts),
        **draw(_lanes(queue_url, is_static=bool(models))),
    )
