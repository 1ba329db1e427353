"""Tasks with input images, from the queue to the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdk_stable_diffusion.runtime_image.agent import service
from cdk_stable_diffusion.runtime_image.agent.engine import Engine
from cdk_stable_diffusion.runtime_image.agent.retry import Backoff
from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.agent.signals import Signals
from tests.agent.emulated import emulated_aws
from tests.agent.fake_engine import FakeEngine
from tests.agent.scene import Aws, Scene
from tests.inputs.files import data_url, picture, png_that_says

QUICK = Backoff(first_seconds=0.02, longest_seconds=0.1, total_seconds=0.5)
Start = Callable[[Engine], None]


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    with emulated_aws() as aws:
        yield aws


@pytest.fixture
def scene(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    scene = Scene(aws, tmp_path)
    scene.publish_model()
    return scene


@pytest.fixture
def start(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start an agent, and end it after the test."""
    monkeypatch.setattr(service, "_POLL_GRACE_SECONDS", 0.01)
    agents: list[Agent] = []

    def start(engine: Engine) -> None:
        agents.append(Agent(scene.environment, engine, scene.clients(), backoff=QUICK))
        agents[-1].start()

    yield start
    for agent in agents:
        agent.shutdown.request(0.5)
        agent.drain(Signals())


def _put(scene: Scene, key: str, data: bytes) -> str:
    scene.s3.put_object(Bucket=scene.output_bucket, Key=key, Body=data)
    return f"s3://{scene.output_bucket}/{key}"


def test_the_engine_gets_the_files_and_the_size_is_the_pictures(scene: Scene, start: Start) -> None:
    engine = FakeEngine()
    start(engine)
    image, mask = picture(size=(96, 80)), picture("WEBP", (96, 80))
    reference = _put(scene, "uploads/a b.png", image)
    scene.send(task_type="inpainting", image=reference, mask=data_url(mask, "webp"), strength=0.5)
    (result,) = scene.wait_for_results(1)
    assert (result.status, result.task_type) == ("succeeded", "inpainting")
    (generation,) = engine.generations
    assert generation.inputs == {"image": image, "mask": mask}
    assert (generation.task_type, generation.strength) == ("inpainting", 0.5)
    # The model's own size is for what begins with nothing.
    assert (generation.width, generation.height) == (None, None)


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("s3://somebody-elses/a.png", "bucket that input images may not come from"),
        ("https://169.254.169.254/latest/", "by a full DNS name"),
        ("https://images.example.org/a.png", "host that input images may not come from"),
        (data_url(b"<svg/>"), "must be a PNG, JPEG or WebP"),
        (data_url(png_that_says(50_000, 50_000)), "pixels"),
    ],
    ids=["bucket", "metadata", "host", "markup", "bomb"],
)
def test_a_bad_image_fails_its_task_at_once_and_costs_no_gpu(
    reference: str, says: str, scene: Scene, start: Start
) -> None:
    engine = FakeEngine()
    start(engine)
    scene.send(task_type="image-to-image", image=reference)
    (result,) = scene.wait_for_results(1)
    assert result.error is not None
    assert (result.status, result.error.code) == ("failed", "input-invalid")
    assert result.error.detail.startswith("image ") and says in result.error.detail
    assert result.attempt == 1
    assert engine.generations == []
    assert scene.left(scene.dead_letters) == (0, 0)


def test_a_prompt_is_never_fetched(scene: Scene, start: Start) -> None:
    engine = FakeEngine()
    start(engine)
    secret = _put(scene, "secret.png", picture())
    for prompt in (secret, "https://169.254.169.254/latest/meta-data/ a cat", data_url(b"x")):
        scene.send(prompt=prompt, negative_prompt=prompt)
    assert {result.status for result in scene.wait_for_results(3)} == {"succeeded"}
    for generation in engine.generations:
        assert generation.inputs == {}
        assert generation.prompt == generation.negative_prompt
