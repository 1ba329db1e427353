"""LoRA adapters: added for one drawing, and gone without a trace after it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.runtime_image.engine import adapters as adapters_module
from cdk_stable_diffusion.runtime_image.engine.asset_files import Asset
from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion
from cdk_stable_diffusion.runtime_image.engine.failure import Cancelled, EngineFailure
from tests.engine.orders import ORDER
from tests.engine.pixels import difference

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore::UserWarning:peft"),
]


@pytest.fixture(scope="module")
def assets(random_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Asset]:
    """Return LoRAs by their names: of the UNet, of the text, too, and of one layer."""
    from tests.engine import tiny_assets

    directory = tmp_path_factory.mktemp("loras")
    return {
        "picture": tiny_assets.lora_of_kohya(directory / "picture", random_model, seed=1),
        "text": tiny_assets.lora_of_kohya(directory / "text", random_model, seed=90, text=True),
        "layer": tiny_assets.lora_of_diffusers(directory / "layer", seed=50),
        "wide": tiny_assets.lora_of_kohya(directory / "wide", random_model, width=64),
        "narrow": tiny_assets.lora_of_diffusers(directory / "narrow", width=8),
        "other": tiny_assets.lora_elsewhere(directory / "other"),
    }


def _pixels(diffusion: Diffusion, *adapters: Asset, **changes: Any) -> bytes:
    order = replace(ORDER, adapters=adapters, **changes)
    ((picture,), _) = diffusion.draw(order, lambda *_: None, lambda: False)
    return picture.pixels


@pytest.fixture
def base(diffusion: Diffusion) -> Iterator[bytes]:
    """Draw without adapters before and after a test: not a bit may differ."""
    before = _pixels(diffusion)
    yield before
    assert _pixels(diffusion) == before


def test_an_adapter_is_read_whatever_layer_of_the_text_is(
    random_model: Path, assets: dict[str, Asset]
) -> None:
    """A task may be the first to need both, in either order, and both go away again."""
    diffusion = Diffusion()
    diffusion.load(random_model)
    bare, both = _pixels(diffusion), _pixels(diffusion, assets["text"], clip_skip=2)
    alone, skipped = _pixels(diffusion, assets["text"]), _pixels(diffusion, clip_skip=2)
    assert len({bare, both, alone, skipped}) == 4
    assert _pixels(diffusion, assets["picture"], clip_skip=2) not in (both, skipped)
    assert _pixels(diffusion, assets["text"], clip_skip=2) == both
    assert _pixels(diffusion) == bare


@pytest.mark.parametrize("name", ["picture", "text", "layer"])
def test_an_adapter_changes_the_picture_as_much_as_its_weight_says(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes, name: str
) -> None:
    full, half, less, none = (
        _pixels(diffusion, replace(assets[name], weight=weight)) for weight in (1.0, 0.5, -1.0, 0.0)
    )
    assert len({base, full, half, less}) == 4
    assert none == base
    assert difference(half, base) < difference(full, base)


def test_the_same_adapter_draws_the_same_whatever_was_used_between(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    first = _pixels(diffusion, assets["text"])
    _pixels(diffusion, replace(assets["text"], weight=0.25), assets["picture"])
    _pixels(diffusion, assets["layer"])
    assert _pixels(diffusion, assets["text"]) == first
    # Nor does it matter what was there before.
    fresh = Diffusion()
    fresh.load(diffusion_directory(diffusion))
    assert _pixels(fresh, assets["text"]) == first


def diffusion_directory(diffusion: Diffusion) -> Path:
    return Path(diffusion._model().pipeline.config._name_or_path)


def test_two_adapters_add_up_in_any_order(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    one, other = assets["picture"], assets["text"]
    together = _pixels(diffusion, one, other)
    assert together not in (base, _pixels(diffusion, one), _pixels(diffusion, other))
    assert together == _pixels(diffusion, one, other)
    # Sums of floating-point numbers differ in the last bit with their order.
    assert difference(together, _pixels(diffusion, other, one)) <= 1


def test_the_same_weights_under_two_names_add_up(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    one = replace(assets["picture"], weight=0.25)
    again = replace(one, name="copy", weight=0.5)
    whole = _pixels(diffusion, replace(one, weight=0.75))
    assert _pixels(diffusion, one, again) == whole


def test_other_task_types_use_adapters_too(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    from tests.engine.test_input_images import _file, _scene

    changes = {"task_type": "image-to-image", "image": _file(_scene()), "strength": 0.9}
    plain = _pixels(diffusion, **changes)
    assert _pixels(diffusion, assets["picture"], **changes) != plain
    assert _pixels(diffusion, **changes) == plain


def test_the_values_that_were_used_are_told(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    order = replace(ORDER, adapters=(replace(assets["layer"], weight=0.5),))
    _, parameters = diffusion.draw(order, lambda *_: None, lambda: False)
    assert parameters["adapters"] == [{"name": "layer", "weight": 0.5}]
    assert "adapters" not in diffusion.draw(ORDER, lambda *_: None, lambda: False)[1]


def test_a_cancelled_drawing_leaves_nothing_behind(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    order = replace(ORDER, adapters=(assets["text"],))
    with pytest.raises(Cancelled):
        diffusion.draw(order, lambda *_: None, lambda: True)


MISFITS = {
    "wide": "it was made for text of width 64, the model is text of width 32",
    "narrow": "size mismatch for mid_block",
    "other": "does not fit this model",
}


@pytest.mark.parametrize("name", MISFITS)
def test_an_adapter_of_another_model_is_refused_and_leaves_nothing_behind(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes, name: str
) -> None:
    good = _pixels(diffusion, assets["text"])
    with pytest.raises(EngineFailure, match=f"'{name}' does not fit this model") as caught:
        _pixels(diffusion, assets["text"], assets[name])
    assert MISFITS[name] in caught.value.detail
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)
    assert _pixels(diffusion, assets["text"]) == good


def test_what_is_no_adapter_is_refused(diffusion: Diffusion, base: bytes, tmp_path: Path) -> None:
    from tests.engine import tiny_assets

    word = tiny_assets.embedding(tmp_path / "word")
    with pytest.raises(EngineFailure, match="'word' is a textual inversion embedding, not a LoRA"):
        _pixels(diffusion, word)


SPOILERS = {
    "pickle": ("weights.bin", b"x", "reading it can run code"),
    "code": ("weights.py", b"x", "reading it can run code"),
    "another file of weights": ("more.safetensors", b"x", "does not hold one .safetensors file"),
    "cut off": ("weights.safetensors", b"abc", "is no safetensors file"),
}


@pytest.mark.parametrize("kind", SPOILERS)
def test_an_adapter_that_is_not_as_it_should_be_is_refused(
    diffusion: Diffusion, base: bytes, tmp_path: Path, kind: str
) -> None:
    from tests.engine import tiny_assets

    broken = tiny_assets.lora_of_diffusers(tmp_path / "broken", seed=7)
    name, data, says = SPOILERS[kind]
    (broken.directory / name).write_bytes(data)
    with pytest.raises(EngineFailure, match=says) as caught:
        _pixels(diffusion, replace(broken, digest=kind))
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    assert "'broken'" in caught.value.detail


def test_tensors_cut_off_behind_a_good_header_are_refused(
    diffusion: Diffusion, base: bytes, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    broken = tiny_assets.lora_of_diffusers(tmp_path / "broken", seed=8)
    file = broken.directory / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(EngineFailure, match="'broken'") as caught:
        _pixels(diffusion, replace(broken, digest="cut"))
    assert caught.value.code == "model-invalid"


def test_those_used_longest_ago_make_room(
    random_model: Path, assets: dict[str, Asset], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapters_module, "MOST_KEPT", 2)
    diffusion = Diffusion()
    diffusion.load(random_model)
    base = _pixels(diffusion)
    one, two, three = (assets[name] for name in ("picture", "text", "layer"))
    pictures = {each.digest: _pixels(diffusion, each) for each in (one, two)}
    held = diffusion._model().additions.adapters
    assert held.loaded == (one.digest, two.digest)
    _pixels(diffusion, one)
    _pixels(diffusion, three)
    assert held.loaded == (one.digest, three.digest)
    assert _pixels(diffusion, two) == pictures[two.digest]
    # What one drawing needs is there, however much it is.
    _pixels(diffusion, one, two, three)
    assert set(held.loaded) == {one.digest, two.digest, three.digest}
    assert _pixels(diffusion, one) == pictures[one.digest]
    assert _pixels(diffusion) == base


def test_a_lora_for_xl_reaches_both_text_encoders(xl: Diffusion, tmp_path: Path) -> None:
    from tests.engine import tiny_assets

    base = _pixels(xl)
    first, second = (
        tiny_assets.lora_of_text(tmp_path / f"text-{number}", f"lora_te{number}_")
        for number in (1, 2)
    )
    assert _pixels(xl, first, second) != base
    for encoder, asset in (("text_encoder", first), ("text_encoder_2", second)):
        parts = getattr(xl._model().pipeline, encoder).named_modules()
        names = {name for name, _ in parts if name.endswith(f"lora_A.adapter_{asset.digest}")}
        assert len(names) == 4
    assert _pixels(xl) == base


def test_a_pass_that_tasks_share_has_one_set_of_adapters(
    diffusion: Diffusion, assets: dict[str, Asset], base: bytes
) -> None:
    orders = [
        replace(ORDER, prompt=prompt, seeds=(seed,), adapters=(assets["text"],))
        for seed, prompt in enumerate(("a red circle", "blue"))
    ]
    drawn = diffusion.draw_together(orders, lambda *_: None, lambda: False)
    for order, ((picture,), parameters) in zip(orders, drawn, strict=True):
        assert parameters["adapters"] == [{"name": "text", "weight": 1.0}]
        alone = _pixels(diffusion, assets["text"], prompt=order.prompt, seeds=order.seeds)
        assert difference(picture.pixels, alone) <= 1
    with pytest.raises(EngineFailure, match="are not alike"):
        diffusion.draw_together(
            [orders[0], replace(orders[1], adapters=())], lambda *_: None, lambda: False
        )
