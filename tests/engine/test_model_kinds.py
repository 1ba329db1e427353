"""Drawing with pipelines of every kind: SDXL, SD 3, FLUX, and upscalers."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Order, Picture
from cdk_stable_diffusion.runtime_image.engine.failure import Cancelled, EngineFailure
from cdk_stable_diffusion.runtime_image.engine.loading import load_pipeline
from cdk_stable_diffusion.runtime_image.engine.reading_ahead import written
from cdk_stable_diffusion.runtime_image.engine.warmer import Wanted, read_from

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers",
    # The small upscaler's autoencoder has the usual scale of its latents.
    "ignore:The configuration file of the vae:FutureWarning",
)


def _file(size: tuple[int, int], colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


ORDER = Order(
    prompt="a red circle",
    negative_prompt="",
    seeds=(1,),
    width=64,
    height=64,
    steps=2,
    guidance_scale=None,
    scheduler=None,
)
UPSCALE = replace(
    ORDER, task_type="upscale", image=_file((40, 30)), width=None, height=None, prompt=""
)
KINDS = ("sdxl", "sd3", "flux", "flux-schnell")
FLOW = KINDS[1:]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Diffusion]:
    """Return what makes and loads a small model of a kind, each once."""
    from cdk_stable_diffusion.runtime_image.engine.libraries import import_libraries

    import_libraries()
    from tests.engine import random_model as made

    makers: dict[str, Callable[[Path], None]] = {
        "sdxl": made.make_random_xl_model,
        "sd3": made.make_random_sd3_model,
        "flux": made.make_random_flux_model,
        "flux-schnell": lambda path: made.make_random_flux_model(path, in_few_steps=True),
        "x2": lambda path: made.make_random_upscaler(path, 2),
        "x4": lambda path: made.make_random_upscaler(path, 4),
    }
    loaded: dict[str, Diffusion] = {}

    def load(kind: str) -> Diffusion:
        if kind not in loaded:
            directory = tmp_path_factory.mktemp(kind)
            makers[kind](directory)
            loaded[kind] = Diffusion()
            loaded[kind].load(directory)
        return loaded[kind]

    return load


Models = Callable[[str], Diffusion]


def _draw(
    diffusion: Diffusion, order: Order, **changes: Any
) -> tuple[list[Picture], dict[str, Any]]:
    return diffusion.draw(replace(order, **changes), lambda *_: None, lambda: False)


def _refusal(diffusion: Diffusion, order: Order, **changes: Any) -> str:
    with pytest.raises(EngineFailure) as caught:
        _draw(diffusion, order, **changes)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)
    return caught.value.detail


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_draws_and_a_picture_depends_on_its_seed_alone(models: Models, kind: str) -> None:
    steps: list[tuple[int, int]] = []
    (first, second), _ = models(kind).draw(
        replace(ORDER, seeds=(1, 2)), lambda *step: steps.append(step), lambda: False
    )
    (alone,), _ = _draw(models(kind), ORDER, seeds=(2,))
    assert (alone.width, alone.height) == (64, 64)
    assert max(abs(a - b) for a, b in zip(alone.pixels, second.pixels, strict=True)) <= 1
    assert first.pixels != second.pixels
    assert steps == [(1, 2), (2, 2)]


@pytest.mark.parametrize("kind", [*KINDS, "x2", "x4"])
def test_each_kind_comes_from_another_process_as_it_is(models: Models, kind: str) -> None:
    order = replace(UPSCALE, scale=int(kind[1])) if kind in ("x2", "x4") else ORDER
    expected, _ = _draw(models(kind), order)
    directory = Path(models(kind)._model().pipeline.config._name_or_path)
    other = Diffusion(memory_cache_bytes=1 << 30)
    memory = written(load_pipeline(directory, in_half=False))
    number = os.fstat(memory).st_ino
    try:
        other._put(Wanted(directory, "digest"), read_from(memory), 1.0)
    finally:
        os.close(memory)
    assert other.load(directory, "digest") == "memory"
    assert _draw(other, order)[0] == expected
    # Where all weights have moved on, that memory is free again.
    assert f" {number} " in Path("/proc/self/maps").read_text()
    other._model().drop()
    assert f" {number} " not in Path("/proc/self/maps").read_text()


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_begins_with_a_picture(models: Models, kind: str) -> None:
    order = replace(ORDER, image=_file((64, 64)), strength=0.5, width=None, height=None)
    (drawn,), parameters = _draw(models(kind), order, task_type="image-to-image")
    assert (drawn.width, drawn.height, parameters["strength"]) == (64, 64, 0.5)
    (kept,), _ = _draw(models(kind), order, task_type="inpainting", mask=_file((64, 64), "black"))
    assert set(zip(*[iter(kept.pixels)] * 3, strict=True)) == {(255, 0, 0)}
    (larger,), _ = _draw(models(kind), order, task_type="image-to-image", width=128, height=96)
    assert (larger.width, larger.height) == (128, 96)


@pytest.mark.parametrize("kind", FLOW)
def test_flow_matching_has_a_scheduler_of_its_own(models: Models, kind: str) -> None:
    (own,), _ = _draw(models(kind), ORDER)
    (named,), parameters = _draw(models(kind), ORDER, scheduler="flow_match_euler")
    assert own.pixels == named.pixels
    assert parameters["scheduler"] == "flow_match_euler"
    assert "takes flow_match_euler alone" in _refusal(models(kind), ORDER, scheduler="euler")


def test_other_models_do_not_take_it(models: Models) -> None:
    refusal = _refusal(models("sdxl"), ORDER, scheduler="flow_match_euler")
    assert "does not draw by flow matching" in refusal


@pytest.mark.parametrize(
    ("kind", "steps", "guidance"), [("sd3", 28, 7.0), ("flux", 28, 3.5), ("flux-schnell", 4, 0.0)]
)
def test_each_kind_has_its_own_usual_values(
    models: Models, kind: str, steps: int, guidance: float
) -> None:
    _, parameters = _draw(models(kind), ORDER, steps=None)
    assert (parameters["steps"], parameters["guidance_scale"]) == (steps, guidance)


def test_sizes_are_those_that_the_kind_can_make(models: Models) -> None:
    diffusion = models("sd3")
    assert _draw(diffusion, ORDER, width=None, height=None)[1]["width"] == 64
    # Patches of two by two latents, each of four by four pixels here.
    assert "multiple of 8" in _refusal(diffusion, ORDER, width=100)


def test_what_does_nothing_is_refused(models: Models) -> None:
    for kind in ("flux", "flux-schnell"):
        assert "does nothing" in _refusal(models(kind), ORDER, negative_prompt="blue")
        assert "clip_skip" in _refusal(models(kind), ORDER, clip_skip=2)
    assert "without guidance" in _refusal(models("flux-schnell"), ORDER, guidance_scale=3.5)
    assert _draw(models("flux-schnell"), ORDER, guidance_scale=1.0)[1]["guidance_scale"] == 0.0


def test_negative_prompts_and_guidance_count_where_they_do_something(models: Models) -> None:
    (plain,), _ = _draw(models("sd3"), ORDER)
    (negative,), _ = _draw(models("sd3"), ORDER, negative_prompt="blue")
    assert plain.pixels != negative.pixels
    (weak,), _ = _draw(models("flux"), ORDER, guidance_scale=1.0)
    (strong,), _ = _draw(models("flux"), ORDER, guidance_scale=20.0)
    assert weak.pixels != strong.pixels


def test_the_second_last_layer_is_the_own_of_sd_3(models: Models) -> None:
    (own,), (same,), (earlier,) = (
        _draw(models("sd3"), ORDER, clip_skip=skip)[0] for skip in (None, 2, 3)
    )
    assert own.pixels == same.pixels != earlier.pixels
    assert "must be 2 to 3" in _refusal(models("sd3"), ORDER, clip_skip=1)


@pytest.mark.parametrize(("kind", "scale"), [("x2", 2), ("x4", 4)])
def test_an_upscaler_draws_what_is_finer(models: Models, kind: str, scale: int) -> None:
    steps: list[tuple[int, int]] = []
    order = replace(UPSCALE, scale=scale, guidance_scale=2.0)
    (first,), parameters = models(kind).draw(order, lambda *step: steps.append(step), lambda: False)
    assert (first.width, first.height) == (40 * scale, 30 * scale)
    assert steps == [(1, 2), (2, 2)]
    assert parameters == {
        "width": 40 * scale,
        "height": 30 * scale,
        "steps": 2,
        "guidance_scale": 2.0,
        "seed": 1,
        "scheduler": None,
        "scale": scale,
    }
    (again,), _ = _draw(models(kind), order)
    (seed,), _ = _draw(models(kind), order, seeds=(2,))
    (prompt,), _ = _draw(models(kind), order, prompt="a blue square")
    assert first.pixels == again.pixels
    assert len({first.pixels, seed.pixels, prompt.pixels}) == 3


@pytest.mark.parametrize(("kind", "scale", "other"), [("x2", 2, 4), ("x4", 4, 2)])
def test_an_upscaler_does_its_own_work_alone(
    models: Models, kind: str, scale: int, other: int
) -> None:
    assert f"{scale} times larger; scale is {other}" in _refusal(models(kind), UPSCALE, scale=other)
    assert "does upscale, not text-to-image" in _refusal(models(kind), ORDER)
    assert "takes an image of at most" in _refusal(
        models(kind), UPSCALE, scale=scale, image=_file((2048 // scale + 1, 2048 // scale))
    )


def test_an_upscaler_stops_within_one_step(models: Models) -> None:
    seen: list[int] = []
    with pytest.raises(Cancelled):
        models("x4").draw(
            replace(UPSCALE, scale=4, steps=50),
            lambda step, _: seen.append(step),
            lambda: len(seen) >= 2,
        )
    assert seen == [1, 2]


def test_a_model_that_is_no_upscaler_takes_no_prompt_for_it(models: Models) -> None:
    assert "no upscaler" in _refusal(models("sdxl"), UPSCALE, scale=2, prompt="a cat")
    (larger,), parameters = _draw(models("sdxl"), UPSCALE, scale=2)
    assert (larger.width, parameters["steps"]) == (80, None)
