"""Drawing with a real pipeline."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Picture
from cdk_stable_diffusion.runtime_image.engine.failure import Cancelled, EngineFailure
from cdk_stable_diffusion.runtime_image.engine.schedulers import make_scheduler
from tests.engine.orders import ORDER as QUICK
from tests.engine.pixels import difference
from tests.engine.suited import NOISE_SCHEDULERS, WITHOUT_ZERO_SNR, suit

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)

ORDER = replace(QUICK, steps=3)


def _draw(diffusion: Diffusion, **changes: Any) -> list[Picture]:
    pictures, _ = diffusion.draw(replace(ORDER, **changes), lambda *_: None, lambda: False)
    return pictures


def test_the_same_seed_draws_the_same_bytes(diffusion: Diffusion) -> None:
    (first,), (again,), (other,) = (_draw(diffusion, seeds=(seed,)) for seed in (1, 1, 2))
    assert first.pixels == again.pixels
    assert first.pixels != other.pixels
    assert len(first.pixels) == first.width * first.height * 3


def test_a_picture_does_not_depend_on_its_neighbours(diffusion: Diffusion) -> None:
    together = _draw(diffusion, seeds=(5, 6, 7))
    for picture in together:
        (alone,) = _draw(diffusion, seeds=(picture.seed,))
        # One level of eight bits: floating-point sums differ with the size of a batch.
        assert difference(picture.pixels, alone.pixels) <= 1


def test_prompts_count(diffusion: Diffusion) -> None:
    (first,), (second,), (third,) = (
        _draw(diffusion),
        _draw(diffusion, prompt="blue"),
        _draw(diffusion, negative_prompt="blue"),
    )
    assert len({first.pixels, second.pixels, third.pixels}) == 3


def test_what_is_not_said_is_the_pipelines_usual(diffusion: Diffusion) -> None:
    order = replace(ORDER, steps=None, guidance_scale=None)
    steps: list[tuple[int, int]] = []
    (picture,), parameters = diffusion.draw(order, lambda *step: steps.append(step), lambda: False)
    assert parameters == {
        "width": 64,
        "height": 64,
        "steps": 25,
        "guidance_scale": 7.5,
        "seed": 1,
        "scheduler": None,
    }
    assert (picture.width, picture.height) == (64, 64)
    assert steps == [(step, 25) for step in range(1, 26)]


@pytest.mark.parametrize(("width", "height"), [(64, 128), (136, 72)])
def test_sizes_are_kept(diffusion: Diffusion, width: int, height: int) -> None:
    (picture,) = _draw(diffusion, width=width, height=height)
    assert (picture.width, picture.height) == (width, height)


def test_a_size_that_the_model_cannot_make_is_refused(diffusion: Diffusion) -> None:
    with pytest.raises(EngineFailure, match="multiple of 8") as caught:
        _draw(diffusion, width=100)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)


@pytest.mark.parametrize("scheduler", NOISE_SCHEDULERS)
def test_every_scheduler_of_the_contract_draws(
    diffusion: Diffusion, scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    suit(diffusion, scheduler, monkeypatch)
    (first,), (again,) = (_draw(diffusion, scheduler=scheduler, steps=4) for _ in range(2))
    assert first.pixels == again.pixels
    # Steps with noise of their own must draw it from the picture's own generator.
    _, second = _draw(diffusion, scheduler=scheduler, steps=4, seeds=(9, 1))
    assert difference(first.pixels, second.pixels) <= 1


@pytest.mark.parametrize("scheduler", sorted(WITHOUT_ZERO_SNR))
def test_a_scheduler_that_cannot_begin_with_pure_noise_is_refused(
    diffusion: Diffusion, scheduler: str
) -> None:
    with pytest.raises(EngineFailure, match=r"these can: ddim, .*, unipc_karras$") as caught:
        _draw(diffusion, scheduler=scheduler)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)


def test_what_a_name_does_not_say_is_off(diffusion: Diffusion) -> None:
    karras = make_scheduler(diffusion._model().own_scheduler, "unipc_karras")
    assert karras.config["use_karras_sigmas"]
    assert not make_scheduler(karras, "euler").config["use_karras_sigmas"]
    assert make_scheduler(karras, "dpmpp_2m_exponential").config["use_exponential_sigmas"]
    assert make_scheduler(karras, None).config["use_karras_sigmas"]


def test_the_layer_that_is_read_counts(diffusion: Diffusion) -> None:
    (own,), (last,), (before,) = (_draw(diffusion, clip_skip=skip) for skip in (None, 1, 2))
    assert own.pixels == last.pixels != before.pixels
    (after,) = _draw(diffusion)
    assert after.pixels == own.pixels
    with pytest.raises(EngineFailure, match="must be 1 to 2 for this model, is 3") as caught:
        _draw(diffusion, clip_skip=3)
    assert caught.value.code == "unsupported-request"


@pytest.mark.parametrize("scheduler", [None, "euler", "dpmpp_2m_karras", "unipc"])
def test_the_models_noise_schedule_is_kept(diffusion: Diffusion, scheduler: str | None) -> None:
    own = diffusion._model().own_scheduler
    made = make_scheduler(own, scheduler)
    assert made is not own
    for setting in ("prediction_type", "rescale_betas_zero_snr", "timestep_spacing", "beta_end"):
        assert made.config[setting] == own.config[setting]


def test_a_scheduler_leaves_the_models_own_as_it_was(diffusion: Diffusion) -> None:
    (before,) = _draw(diffusion)
    _draw(diffusion, scheduler="dpmpp_2m_karras")
    (after,) = _draw(diffusion)
    assert before.pixels == after.pixels


def test_cancelling_stops_within_one_step(diffusion: Diffusion) -> None:
    steps: list[int] = []
    with pytest.raises(Cancelled):
        diffusion.draw(
            replace(ORDER, steps=50), lambda step, _: steps.append(step), lambda: len(steps) >= 2
        )
    assert steps == [1, 2]
    assert _draw(diffusion)


def test_memory_that_runs_out_has_its_own_code(
    diffusion: Diffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def run_out(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(diffusion, "_images", run_out)
    with pytest.raises(EngineFailure) as caught:
        _draw(diffusion)
    assert (caught.value.code, caught.value.transient) == ("out-of-memory", True)


def test_a_model_of_the_xl_kind_draws(xl: Diffusion) -> None:
    (first,), (again,) = (_draw(xl, scheduler="dpmpp_2m") for _ in range(2))
    assert first.pixels == again.pixels
    assert (first.width, first.height) == (64, 64)


def test_a_model_is_replaced_by_the_next(random_model: Path, copy: Path) -> None:
    diffusion = Diffusion()
    diffusion.load(random_model)
    (before,) = _draw(diffusion)
    diffusion.load(copy)
    (after,) = _draw(diffusion)
    assert before.pixels == after.pixels


@pytest.fixture
def copy(random_model: Path, tmp_path: Path) -> Path:
    """Return a copy of the random model to spoil."""
    return Path(shutil.copytree(random_model, tmp_path / "model"))


def _write_index(directory: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = directory / "model_index.json"
    index = json.loads(path.read_text())
    change(index)
    path.write_text(json.dumps(index))


_SPOILERS: dict[str, tuple[Callable[[Path], object], str]] = {
    "pickle": (
        lambda model: (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"x"),
        r"diffusion_pytorch_model\.bin is refused",
    ),
    "code": (lambda model: (model / "pipeline.py").write_text("boom"), r"pipeline\.py is refused"),
    "no index": (
        lambda model: (model / "model_index.json").unlink(),
        r"no model_index\.json and no single \.safetensors file",
    ),
    "index is no JSON": (
        lambda model: (model / "model_index.json").write_text("{"),
        "cannot be read",
    ),
    "index is no object": (
        lambda model: (model / "model_index.json").write_text("[]"),
        "not an object",
    ),
    "another pipeline": (
        lambda model: _write_index(model, lambda index: index.update(_class_name="AudioLDM")),
        "'AudioLDM' is not supported; supported: FluxPipeline, StableDiffusion3Pipeline",
    ),
    "a component of its own": (
        lambda model: _write_index(model, lambda index: index.update(unet=["os", "system"])),
        "component 'unet' comes from 'os'",
    ),
    "weights cut off": (
        lambda model: (model / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"x"),
        "cannot be loaded",
    ),
    "weights missing": (
        lambda model: (model / "vae" / "diffusion_pytorch_model.safetensors").unlink(),
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize("spoiler", _SPOILERS)
def test_a_model_that_is_not_as_it_should_be_is_refused(copy: Path, spoiler: str) -> None:
    spoil, message = _SPOILERS[spoiler]
    spoil(copy)
    diffusion = Diffusion()
    with pytest.raises(EngineFailure, match=message) as caught:
        diffusion.load(copy)
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    with pytest.raises(EngineFailure, match="no model is loaded"):
        _draw(diffusion)
