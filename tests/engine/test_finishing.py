"""What is done to each picture between drawing and storing."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import pytest
from PIL import Image

from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Order, Picture
from cdk_stable_diffusion.runtime_image.engine.failure import EngineFailure
from cdk_stable_diffusion.runtime_image.engine.finishing import Finishing
from cdk_stable_diffusion.runtime_image.engine.marking import write_on

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)

ORDER = Order(
    prompt="a red circle",
    negative_prompt="",
    seeds=(1, 2),
    width=None,
    height=None,
    steps=2,
    guidance_scale=3.0,
    scheduler=None,
)


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return a module for functions of a user's."""
    module = ModuleType("own_hooks")
    monkeypatch.setitem(sys.modules, "own_hooks", module)
    return module


def _finishing(safety_checker: str = "", watermark: str = "") -> Finishing:
    return Finishing.from_environment(
        {"SD_SAFETY_CHECKER": safety_checker, "SD_WATERMARK": watermark}
    )


def _draw(
    model: Path, finishing: Finishing | None = None, **changes: Any
) -> tuple[list[Picture], dict[str, Any]]:
    diffusion = Diffusion(finishing)
    diffusion.load(model)
    return diffusion.draw(replace(ORDER, **changes), lambda *_: None, lambda: False)


def _failure(model: Path, finishing: Finishing, **changes: Any) -> EngineFailure:
    with pytest.raises(EngineFailure) as caught:
        _draw(model, finishing, **changes)
    assert not caught.value.transient
    return caught.value


def test_nothing_is_done_unless_it_is_asked_for(random_model: Path) -> None:
    plain, parameters = _draw(random_model)
    finished, same = _draw(random_model, _finishing())
    assert [each.pixels for each in plain] == [each.pixels for each in finished]
    assert parameters == same
    assert not {"safety_checker", "watermark"} & set(parameters)


def test_a_function_decides_what_is_unsafe(random_model: Path, hooks: ModuleType) -> None:
    seen: list[Image.Image] = []

    def is_unsafe(picture: Image.Image) -> bool:
        seen.append(picture)
        return len(seen) == 2

    hooks.is_unsafe = is_unsafe  # type: ignore[attr-defined]
    failure = _failure(random_model, _finishing("own_hooks:is_unsafe"))
    assert failure.code == "unsafe-content"
    assert "picture 2 of 2 is unsafe" in failure.detail
    pictures, parameters = _draw(random_model, _finishing("own_hooks:is_unsafe"))
    assert parameters["safety_checker"] == "own_hooks:is_unsafe"
    assert [each.tobytes() for each in seen[2:]] == [each.pixels for each in pictures]


def test_what_is_only_made_larger_is_checked_too(random_model: Path, hooks: ModuleType) -> None:
    hooks.is_unsafe = lambda picture: picture.size == (32, 32)  # type: ignore[attr-defined]
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "PNG")
    changes = {"task_type": "upscale", "image": file.getvalue(), "prompt": "", "seeds": (1,)}
    failure = _failure(random_model, _finishing("own_hooks:is_unsafe"), **changes, scale=2)
    assert failure.code == "unsafe-content"
    assert _draw(random_model, _finishing("own_hooks:is_unsafe"), **changes, scale=4)[0]


FAILING: dict[str, tuple[Callable[[Any], Any], str]] = {
    "raises": (lambda _: 1 / 0, "failed: ZeroDivisionError"),
    "forgets to return": (lambda _: None, "must return"),
    "returns a number": (lambda _: 0, "must return"),
}


@pytest.mark.parametrize("name", FAILING)
@pytest.mark.parametrize("setting", ["safety_checker", "watermark"])
def test_nothing_passes_a_function_that_fails(
    random_model: Path, hooks: ModuleType, name: str, setting: str
) -> None:
    hooks.function, says = FAILING[name]  # type: ignore[attr-defined]
    failure = _failure(random_model, _finishing(**{setting: "own_hooks:function"}))
    assert failure.code == "generation-failed"
    assert f"own_hooks:function {says}" in failure.detail


def test_a_function_marks_what_was_checked(random_model: Path, hooks: ModuleType) -> None:
    checked: list[bytes] = []

    def is_unsafe(picture: Image.Image) -> Any:
        checked.append(picture.tobytes())
        picture.paste((0, 0, 0), (0, 0, *picture.size))
        return numpy.bool_(False)

    def mark(picture: Image.Image) -> Image.Image:
        picture.putpixel((0, 0), (1, 2, 3))
        return picture

    hooks.is_unsafe, hooks.mark = is_unsafe, mark  # type: ignore[attr-defined]
    hooks.cut = lambda picture: picture.crop((0, 0, 8, 8))  # type: ignore[attr-defined]
    plain, _ = _draw(random_model)
    marked, parameters = _draw(random_model, _finishing("own_hooks:is_unsafe", "own_hooks:mark"))
    assert checked == [each.pixels for each in plain]
    assert [each.pixels[:3] for each in marked] == [b"\x01\x02\x03"] * 2
    assert [each.pixels[3:] for each in marked] == [each.pixels[3:] for each in plain]
    assert parameters["watermark"] == "own_hooks:mark"
    failure = _failure(random_model, _finishing(watermark="own_hooks:cut"))
    assert "in the size that it had" in failure.detail


def test_a_text_is_written_in_the_corner_and_can_be_read(random_model: Path) -> None:
    (picture, _), parameters = _draw(random_model, _finishing(watermark="text=drawn"))
    (plain, _), _ = _draw(random_model)
    assert parameters["watermark"] == "text=drawn"
    changed = (
        numpy.frombuffer(picture.pixels, "uint8") != numpy.frombuffer(plain.pixels, "uint8")
    ).reshape(64, 64, 3)
    assert changed[32:, 32:].any()
    assert not changed[:32].any()


@pytest.mark.parametrize("size", [(64, 64), (512, 512), (2048, 64), (64, 2048)])
@pytest.mark.parametrize("text", ["x", "made by a machine, not by a hand" * 3])
def test_a_text_stays_on_any_picture(size: tuple[int, int], text: str) -> None:
    for grey in (0, 255):
        ground = Image.new("RGB", size, (grey,) * 3)
        marked = write_on(ground, text)
        assert marked.size == size
        assert marked.mode == "RGB"
        low, high = numpy.asarray(marked).min(), numpy.asarray(marked).max()
        # It can be told from black and from white.
        assert int(high) - int(low) > 60
        assert write_on(ground, text).tobytes() == marked.tobytes()


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (("no_such_module_anywhere:f", ""), ImportError),
        (("", "json:no_such_function"), AttributeError),
        (("models", ""), ValueError),
        (("", "text="), ValueError),
    ],
)
def test_no_engine_starts_without_what_it_must_ask(
    settings: tuple[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        _finishing(*settings)


def _with_checker(random_model: Path, directory: Path, threshold: float) -> Path:
    """Return the random model with a safety checker that finds everything, or nothing."""
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    model = Path(shutil.copytree(random_model, directory / "model"))
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 32,
        "patch_size": 16,
    }
    checker = StableDiffusionSafetyChecker(CLIPConfig(vision_config=vision, projection_dim=8))
    for name in ("concept_embeds_weights", "special_care_embeds_weights"):
        getattr(checker, name).data = torch.full_like(getattr(checker, name), threshold)
    checker.save_pretrained(model / "safety_checker")
    size = {"shortest_edge": 32}
    crop = {"height": 32, "width": 32}
    CLIPImageProcessor(size=size, crop_size=crop).save_pretrained(model / "feature_extractor")
    index = json.loads((model / "model_index.json").read_text())
    index["safety_checker"] = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    index["feature_extractor"] = ["transformers", "CLIPImageProcessor"]
    (model / "model_index.json").write_text(json.dumps(index))
    return model


def test_the_models_own_checker_decides_where_it_is_asked(
    random_model: Path, tmp_path: Path
) -> None:
    strict = _with_checker(random_model, tmp_path / "strict", -2.0)
    lax = _with_checker(random_model, tmp_path / "lax", 2.0)
    plain, _ = _draw(random_model)
    # Not asked, it is not even loaded, and blackens nothing.
    assert [each.pixels for each in _draw(strict)[0]] == [each.pixels for each in plain]
    failure = _failure(strict, _finishing("model"))
    assert failure.code == "unsafe-content"
    assert "picture 1, 2 of 2 is unsafe" in failure.detail
    pictures, parameters = _draw(lax, _finishing("model"))
    assert [each.pixels for each in pictures] == [each.pixels for each in plain]
    assert parameters["safety_checker"] == "model"


def test_a_model_without_a_checker_is_refused_where_it_is_asked(random_model: Path) -> None:
    failure = _failure(random_model, _finishing("model"))
    assert failure.code == "model-invalid"
    assert "has none" in failure.detail
