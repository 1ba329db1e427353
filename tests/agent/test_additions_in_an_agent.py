"""What a task adds to its model, from the bucket to the engine."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image
from safetensors.numpy import save

import cdk_stable_diffusion
from cdk_stable_diffusion.contract import Adapter, ModelManifest
from cdk_stable_diffusion.contract.keys import model_prefix
from cdk_stable_diffusion.runtime_image.agent import service
from cdk_stable_diffusion.runtime_image.agent.child import ChildEngine
from cdk_stable_diffusion.runtime_image.agent.engine import Engine, Generation
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.model_cache import ModelCache
from cdk_stable_diffusion.runtime_image.agent.model_source import ModelSource
from cdk_stable_diffusion.runtime_image.agent.retry import Backoff
from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.agent.signals import Signals
from tests.agent.fake_engine import FakeEngine
from tests.agent.scene import FILES, MODEL, Scene, wait_until
from tests.contract.safetensors_files import KOHYA, safetensors

TINY_SHAPES = Path(cdk_stable_diffusion.__file__).parent / "local" / "models" / "tiny-shapes"
QUICK = Backoff(first_seconds=0.02, longest_seconds=0.1, total_seconds=0.5)
Start = Callable[..., None]

LORA: dict[str, tuple[int, ...]] = {
    f"{KOHYA}.lora_down.weight": (4, 768),
    f"{KOHYA}.lora_up.weight": (320, 4),
}
ASSETS: dict[str, dict[str, tuple[int, ...]]] = {
    "pixel-art": LORA,
    "sketch": {**LORA, "lora_unet_other.alpha": ()},
    "cat-toy": {"emb_params": (2, 768)},
    "soft": {"encoder.down.0.conv.weight": (8, 8, 3, 3), "decoder.conv_in.weight": (8, 4, 3, 3)},
}


def publish(scene: Scene, name: str, data: bytes) -> ModelManifest:
    """Put a file that is added to models into the bucket, as sd-model does."""
    directory = scene.directory / "published" / name
    directory.mkdir(parents=True)
    (directory / f"{name}.safetensors").write_bytes(data)
    scene.publish_directory(name, directory)
    return ModelManifest.of_directory(directory, name)


@pytest.fixture
def manifests(scene: Scene) -> dict[str, ModelManifest]:
    scene.publish_model()
    return {name: publish(scene, name, safetensors(each)) for name, each in ASSETS.items()}


@pytest.fixture
def start(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an agent, and end it after the test."""
    monkeypatch.setattr(service, "_POLL_GRACE_SECONDS", 0.01)
    agents: list[Agent] = []

    def start(engine: Engine, **settings: Any) -> None:
        environment = scene.with_settings(**settings)
        agents.append(Agent(environment, engine, scene.clients(), backoff=QUICK))
        agents[-1].start()

    yield start
    for agent in agents:
        agent.shutdown.request(0.5)
        agent.drain(Signals())


def test_the_engine_gets_everything_that_a_task_adds(
    scene: Scene, start: Start, manifests: dict[str, ModelManifest]
) -> None:
    held: list[bool] = []

    def look(generation: Generation) -> None:
        added = [*generation.adapters, *generation.embeddings]
        added += [generation.vae] if generation.vae else []
        held.extend((each.path / f"{each.name}.safetensors").is_file() for each in added)

    engine = FakeEngine(look)
    start(engine)
    adapters = [{"name": "sketch", "weight": -0.5}, {"name": "pixel-art"}]
    scene.send(adapters=adapters, embeddings=["cat-toy"], vae="soft")
    scene.send(prompt="plain")
    assert {each.status for each in scene.wait_for_results(2)} == {"succeeded"}
    generation, plain = engine.generations
    assert [(each.name, each.weight) for each in generation.adapters] == [
        ("sketch", -0.5),
        ("pixel-art", 1.0),
    ]
    assert [each.name for each in generation.embeddings] == ["cat-toy"]
    assert generation.vae is not None
    for each in (*generation.adapters, *generation.embeddings, generation.vae):
        assert each.digest == manifests[each.name].digest
    assert held == [True] * 4
    assert (plain.adapters, plain.embeddings, plain.vae) == ((), (), None)
    assert engine.loads == [MODEL]


def _spoil(scene: Scene, name: str) -> None:
    key = f"{model_prefix(name)}{name}.safetensors"
    scene.s3.put_object(Bucket=scene.model_bucket, Key=key, Body=b"x" * 100)


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "an adapter that is not there": (
        {"adapters": [{"name": "pixel-art"}, {"name": "nowhere"}]},
        "model-not-found",
        "adapters: model 'nowhere': s3://",
    ),
    "an embedding that is not there": (
        {"embeddings": ["nothing"]},
        "model-not-found",
        "embeddings: model 'nothing': s3://",
    ),
    "a file that is not as its manifest says": (
        {"adapters": [{"name": "sketch"}]},
        "model-invalid",
        "adapters: model 'sketch': sketch.safetensors has 100 bytes instead of",
    ),
    "a model as an adapter": (
        {"adapters": [{"name": MODEL}]},
        "unsupported-request",
        f"adapters: '{MODEL}' is a model, not a LoRA adapter",
    ),
    "an adapter as a model": (
        {"model": "pixel-art"},
        "unsupported-request",
        "'pixel-art' is a LoRA adapter, not a model",
    ),
    "an embedding as a VAE": (
        {"vae": "cat-toy"},
        "unsupported-request",
        "vae: 'cat-toy' is a textual inversion embedding, not an autoencoder (VAE)",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_be_added_fails_its_task_at_once_and_costs_no_gpu(
    kind: str, scene: Scene, start: Start, manifests: dict[str, ModelManifest]
) -> None:
    request, code, says = BAD[kind]
    _spoil(scene, "sketch")
    engine = FakeEngine()
    start(engine)
    scene.send(**request)
    scene.send(prompt="good", adapters=[{"name": "pixel-art"}])
    results = sorted(scene.wait_for_results(2), key=lambda result: result.status)
    assert [result.status for result in results] == ["failed", "succeeded"]
    error = results[0].error
    assert error is not None
    assert (error.code, results[0].attempt) == (code, 1)
    assert error.detail.startswith(says)
    assert [each.prompt for each in engine.generations] == ["good"]
    assert scene.left(scene.dead_letters) == (0, 0)


def test_the_next_tasks_adapter_is_fetched_while_the_gpu_works(
    scene: Scene, start: Start, manifests: dict[str, ModelManifest]
) -> None:
    place = Path(scene.environment.model_cache_directory) / "models" / manifests["sketch"].digest

    def draw(generation: Generation) -> None:
        if generation.prompt == "second":
            scene.send(prompt="third", adapters=[{"name": "sketch"}])
            wait_until(place.is_dir, "the next task's adapter is on the disk")

    start(FakeEngine(draw))
    scene.send(prompt="first")
    scene.wait_for_results(1)
    assert not place.exists()
    scene.send(prompt="second")
    assert {each.status for each in scene.wait_for_results(2)} == {"succeeded"}


def test_nothing_that_is_in_use_makes_room(
    scene: Scene, start: Start, manifests: dict[str, ModelManifest]
) -> None:
    names = ("pixel-art", "cat-toy")
    size = sum(map(len, FILES.values())) + sum(manifests[name].size for name in names)
    refusals: list[TaskFailure] = []

    def squeeze(generation: Generation) -> None:
        cache = ModelCache(
            ModelSource(scene.s3, scene.model_bucket),
            directory=Path(scene.environment.model_cache_directory),
            max_bytes=size,
        )
        with pytest.raises(TaskFailure) as caught:
            cache.open("soft", kind="vae")
        refusals.append(caught.value)

    start(FakeEngine(squeeze), model_cache_bytes=size)
    scene.send(adapters=[{"name": "pixel-art"}], embeddings=["cat-toy"])
    assert scene.wait_for_results(1)[0].status == "succeeded"
    assert "every model in the cache is in use" in refusals[0].detail
    # What never fits is told apart from what does not fit now.
    scene.send(adapters=[{"name": "pixel-art"}], embeddings=["cat-toy"], vae="soft")
    (result,) = scene.wait_for_results(1)
    assert result.error is not None
    assert (result.error.code, result.attempt) == ("unsupported-request", 1)
    assert f"the cache holds {size}" in result.error.detail


def test_what_the_image_carries_is_added_from_there(
    scene: Scene, start: Start, manifests: dict[str, ModelManifest]
) -> None:
    models = scene.directory / "image"
    shutil.copytree(scene.directory / "published" / "soft", models / "soft")
    (models / "soft" / "model.json").write_text(manifests["soft"].to_json())
    engine = FakeEngine()
    start(engine, image_models_directory=str(models))
    scene.send(vae="soft")
    assert scene.wait_for_results(1)[0].status == "succeeded"
    vae = engine.generations[0].vae
    assert vae is not None and vae.path == models / "soft"


def _drawn(scene: Scene, result: Any) -> Any:
    assert result.error is None
    data = scene.read(result.images[0].key)
    return numpy.asarray(Image.open(io.BytesIO(data)))


@pytest.mark.chaos
def test_a_real_engine_adds_and_takes_away(scene: Scene, start: Start) -> None:
    scene.publish_directory("tiny-shapes", TINY_SHAPES)
    key = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    generator = numpy.random.default_rng(0)
    for name, width in (("bend", 64), ("for-another", 48)):
        tensors = {
            f"{key}.lora_A.weight": generator.standard_normal((2, width), "float32"),
            f"{key}.lora_B.weight": generator.standard_normal((width, 2), "float32"),
        }
        publish(scene, name, save(tensors))
    publish(scene, "word", save({"x": 5 * generator.standard_normal((1, 64), "float32")}))
    request = {"model": "tiny-shapes", "prompt": "a large red circle <word>", "seed": 1, "steps": 4}
    additions: list[dict[str, Any]] = [
        {},
        {"adapters": [{"name": "bend", "weight": 3}]},
        {"adapters": [{"name": "for-another"}]},
        {"embeddings": ["word"]},
        {},
    ]
    start(ChildEngine())
    results: list[Any] = []
    for each in additions:
        scene.send(**request, **each)
        results += scene.wait_for_results(1, seconds=120)
    base, bent, refused, worded, again = results
    assert (_drawn(scene, base) == _drawn(scene, again)).all()
    assert (_drawn(scene, base) != _drawn(scene, bent)).any()
    assert (_drawn(scene, base) != _drawn(scene, worded)).any()
    assert bent.parameters.adapters == (Adapter("bend", 3.0),)
    assert worded.parameters.embeddings == ("word",)
    assert base.parameters == again.parameters
    picture = Image.open(io.BytesIO(scene.read(bent.images[0].key)))
    assert "Lora: bend:3, " in picture.info["parameters"]
    assert '"adapters":[{"name":"bend","weight":3.0}]' in picture.info["cdk-stable-diffusion"]
    assert refused.error.code == "unsupported-request"
    assert refused.error.detail.startswith("'for-another' does not fit this model: ")
