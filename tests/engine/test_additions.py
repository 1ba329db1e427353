"""New words, another autoencoder, a ControlNet: there for one drawing, and gone after it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import pytest
from PIL import Image

from cdk_stable_diffusion.runtime_image.engine.asset_files import Asset
from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Picture
from cdk_stable_diffusion.runtime_image.engine.failure import Cancelled, EngineFailure
from tests.engine.orders import ORDER
from tests.engine.pixels import difference
from tests.engine.test_input_images import _file, _right_half, _scene

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)


def _draw(diffusion: Diffusion, **changes: Any) -> Picture:
    (picture, *_), _ = diffusion.draw(replace(ORDER, **changes), lambda *_: None, lambda: False)
    return picture


def _pixels(diffusion: Diffusion, **changes: Any) -> bytes:
    return _draw(diffusion, **changes).pixels


@pytest.fixture
def base(diffusion: Diffusion) -> Iterator[bytes]:
    """Draw with the bare model before and after a test: not a bit may differ."""
    before = _pixels(diffusion)
    yield before
    assert _pixels(diffusion) == before


@pytest.fixture
def word(tmp_path: Path) -> Asset:
    from tests.engine import tiny_assets

    return tiny_assets.embedding(tmp_path / "cat-toy", vectors=3)


def test_a_new_word_means_something_only_where_it_stands(
    diffusion: Diffusion, base: bytes, word: Asset
) -> None:
    prompt = "a red <cat-toy>"
    assert _pixels(diffusion, embeddings=(word,)) == base
    plain = _pixels(diffusion, prompt=prompt)
    taught = _pixels(diffusion, prompt=prompt, embeddings=(word,))
    assert taught != plain
    assert _pixels(diffusion, prompt=prompt) == plain
    assert _pixels(diffusion, prompt=prompt, embeddings=(word,)) == taught


def test_a_new_word_is_known_to_earlier_layers_of_the_text_encoder(
    diffusion: Diffusion, base: bytes, word: Asset
) -> None:
    with_word, without = (
        _pixels(diffusion, prompt="a <cat-toy>", embeddings=embeddings, clip_skip=2)
        for embeddings in ((word,), ())
    )
    assert base != with_word != without != base


def test_a_new_word_can_be_what_shall_not_be_there(
    diffusion: Diffusion, base: bytes, word: Asset
) -> None:
    negative = _pixels(diffusion, negative_prompt="<cat-toy>", embeddings=(word,))
    assert negative not in (base, _pixels(diffusion, negative_prompt="<cat-toy>"))


def test_every_vector_of_a_word_counts(diffusion: Diffusion, base: bytes, tmp_path: Path) -> None:
    from tests.engine import tiny_assets

    pictures = {
        _pixels(
            diffusion,
            prompt="<w>",
            embeddings=(
                replace(tiny_assets.embedding(tmp_path / str(count), vectors=count), name="w"),
            ),
        )
        for count in (1, 2, 3)
    }
    assert len(pictures) == 3


def test_words_are_told_apart_by_their_exact_spelling(
    diffusion: Diffusion, base: bytes, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    words = tuple(
        tiny_assets.embedding(tmp_path / name, seed=seed)
        for seed, name in enumerate(("cat", "Cat", "cat-2"))
    )
    pictures = {_pixels(diffusion, prompt=f"<{each.name}>", embeddings=words) for each in words}
    assert len(pictures) == 3


def test_a_word_for_two_text_encoders_is_for_models_that_have_them(
    diffusion: Diffusion, xl: Diffusion, base: bytes, tmp_path: Path, word: Asset
) -> None:
    from tests.engine import tiny_assets

    both = tiny_assets.embedding_for_two(tmp_path / "both", vectors=2)
    before = _pixels(xl, prompt="<both>")
    assert _pixels(xl, prompt="<both>", embeddings=(both,)) != before
    assert _pixels(xl, prompt="<both>") == before
    with pytest.raises(EngineFailure, match=r"'both' does not fit .* 2 text encoders"):
        _pixels(diffusion, embeddings=(both,))
    with pytest.raises(EngineFailure, match=r"'cat-toy' does not fit .* 1 text encoders"):
        _pixels(xl, embeddings=(word,))


def test_a_word_of_another_width_is_refused(
    diffusion: Diffusion, base: bytes, tmp_path: Path, word: Asset
) -> None:
    from tests.engine import tiny_assets

    wide = tiny_assets.embedding(tmp_path / "wide", width=48)
    with pytest.raises(EngineFailure, match="width 48, those of the model's text encoder 32"):
        _pixels(diffusion, embeddings=(word, wide))


@pytest.mark.parametrize(("vectors", "value"), [(76, 0.0), (1, float("nan")), (1, float("inf"))])
def test_a_word_of_nonsense_is_refused(
    diffusion: Diffusion, base: bytes, tmp_path: Path, vectors: int, value: float
) -> None:
    import torch

    from tests.engine import tiny_assets

    broken = tiny_assets.write(tmp_path / "broken", {"x": torch.full((vectors, 32), value)})
    with pytest.raises(EngineFailure, match="'broken'") as caught:
        _pixels(diffusion, embeddings=(broken,))
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)


def test_another_autoencoder_is_used_and_put_away(
    diffusion: Diffusion, base: bytes, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    vaes = [tiny_assets.vae_of_diffusers(tmp_path / str(seed), seed=seed) for seed in (7, 8)]
    pictures = [_pixels(diffusion, vae=vae) for vae in vaes]
    assert len({base, *pictures}) == 3
    assert [_pixels(diffusion, vae=vae) for vae in vaes] == pictures
    # It also reads the picture that a drawing begins with.
    from_image = {"task_type": "image-to-image", "image": _file(_scene()), "strength": 0.5}
    assert _pixels(diffusion, vae=vaes[0], **from_image) != _pixels(diffusion, **from_image)


def test_an_autoencoder_like_the_models_own_changes_nothing(
    diffusion: Diffusion, base: bytes, random_model: Path, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    copy = Path(shutil.copytree(random_model / "vae", tmp_path / "copy"))
    assert _pixels(diffusion, vae=tiny_assets.asset(copy)) == base


def test_an_autoencoder_of_a_checkpoint_is_read(
    diffusion: Diffusion, base: bytes, random_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    from tests.engine import tiny_assets

    own = load_file(random_model / "vae" / "diffusion_pytorch_model.safetensors")
    tensors = tiny_assets.vae_names_of_checkpoint(own)
    assert _pixels(diffusion, vae=tiny_assets.write(tmp_path / "ldm", tensors)) == base
    tensors.pop("first_stage_model.decoder.conv_in.weight")
    broken = tiny_assets.write(tmp_path / "less", tensors)
    with pytest.raises(EngineFailure, match="'less' does not fit this model"):
        _pixels(diffusion, vae=broken)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"latent_channels": 8}, "8 channels in its latent pictures, the model's own 4"),
        ({"levels": 2}, "2 levels, the model's own 3"),
    ],
)
def test_an_autoencoder_of_another_model_is_refused(
    diffusion: Diffusion, base: bytes, tmp_path: Path, settings: dict[str, int], says: str
) -> None:
    from tests.engine import tiny_assets

    other = tiny_assets.vae_of_diffusers(tmp_path / "other", **settings)
    with pytest.raises(EngineFailure, match=says) as caught:
        _pixels(diffusion, vae=other)
    assert caught.value.code == "unsupported-request"


def test_an_autoencoder_without_its_settings_is_refused(
    diffusion: Diffusion, base: bytes, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    vae = tiny_assets.vae_of_diffusers(tmp_path / "bare")
    config = vae.directory / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "_class_name": "AutoencoderTiny"}))
    with pytest.raises(EngineFailure, match="not that of an AutoencoderKL"):
        _pixels(diffusion, vae=vae)
    config.unlink()
    with pytest.raises(EngineFailure, match=r"config\.json is missing") as caught:
        _pixels(diffusion, vae=vae)
    assert caught.value.code == "model-invalid"


def test_all_of_it_together_leaves_nothing_behind(
    diffusion: Diffusion, base: bytes, random_model: Path, tmp_path: Path, word: Asset
) -> None:
    from tests.engine import tiny_assets

    added: dict[str, Any] = {
        "adapters": (tiny_assets.lora_of_diffusers(tmp_path / "layer"),),
        "embeddings": (word,),
        "vae": tiny_assets.vae_of_diffusers(tmp_path / "vae"),
    }
    order = replace(ORDER, prompt="<cat-toy>", **added)
    _, parameters = diffusion.draw(order, lambda *_: None, lambda: False)
    assert parameters["embeddings"] == ["cat-toy"]
    assert parameters["vae"] == "vae"
    with pytest.raises(Cancelled):
        diffusion.draw(order, lambda *_: None, lambda: True)


# A ControlNet that says nothing, as it is before its training, and one that says a lot.
@pytest.fixture(scope="module", params=["sd", "xl"])
def controlled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Diffusion]:
    from tests.engine import tiny_assets

    plain = request.getfixturevalue({"sd": "random_model", "xl": "xl_model"}[request.param])
    found = {}
    for name in ("silent", "loud"):
        model = Path(shutil.copytree(plain, tmp_path_factory.mktemp(name) / "model"))
        tiny_assets.add_controlnet(model, at_random=name == "loud")
        found[name] = Diffusion()
        found[name].load(model)
    return found


CONTROL = _file(_scene())
TYPES: dict[str, dict[str, Any]] = {
    "text-to-image": {},
    "image-to-image": {"image": _file(_scene()), "strength": 1.0},
    "inpainting": {"image": _file(_scene()), "mask": _file(_right_half())},
}


@pytest.mark.parametrize("task_type", TYPES)
def test_a_control_picture_is_followed(controlled: dict[str, Diffusion], task_type: str) -> None:
    order = {"task_type": task_type, **TYPES[task_type]}
    silent, loud = controlled["silent"], controlled["loud"]
    plain = _pixels(silent, **order)
    assert difference(_pixels(silent, control_image=CONTROL, **order), plain) <= 1
    followed = _pixels(loud, control_image=CONTROL, **order)
    other = _pixels(loud, control_image=_file(Image.new("RGB", (64, 64))), **order)
    half = _pixels(loud, control_image=CONTROL, control_scale=0.5, **order)
    assert len({plain, followed, other, half}) == 4
    unbound = _pixels(loud, control_image=CONTROL, control_scale=0.0, **order)
    assert difference(unbound, plain) <= 1
    assert _pixels(loud, **order) == plain


def test_a_control_picture_decides_the_size_where_nothing_else_does(
    controlled: dict[str, Diffusion],
) -> None:
    control = _file(_scene((100, 72)))
    first = _draw(controlled["loud"], control_image=control)
    assert (first.width, first.height) == (96, 72)
    order = replace(ORDER, control_image=control, width=64, height=128, seeds=(1, 2))
    pictures, parameters = controlled["loud"].draw(order, lambda *_: None, lambda: False)
    assert [(each.width, each.height) for each in pictures] == [(64, 128)] * 2
    assert parameters["control_scale"] == 1.0
    assert "strength" not in parameters
    (alone,), _ = controlled["loud"].draw(
        replace(order, seeds=(2,)), lambda *_: None, lambda: False
    )
    assert numpy.abs(_levels(alone) - _levels(pictures[1])).max() <= 1


def _levels(picture: Picture) -> Any:
    return numpy.frombuffer(picture.pixels, "uint8").astype(int)


def test_adapters_and_control_go_together(controlled: dict[str, Diffusion], tmp_path: Path) -> None:
    from tests.engine import tiny_assets

    loud = controlled["loud"]
    lora = tiny_assets.lora_of_diffusers(tmp_path / "lora")
    plain = _pixels(loud, control_image=CONTROL)
    assert _pixels(loud, control_image=CONTROL, adapters=(lora,)) != plain
    assert _pixels(loud, control_image=CONTROL) == plain


def test_a_model_without_a_controlnet_follows_nothing(diffusion: Diffusion, base: bytes) -> None:
    with pytest.raises(EngineFailure, match="the model has no ControlNet") as caught:
        _pixels(diffusion, control_image=CONTROL)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)
    with pytest.raises(EngineFailure, match="control_image cannot be decoded"):
        _pixels(diffusion, control_image=b"x")


def test_a_controlnet_of_another_model_is_refused(
    random_model: Path, xl_model: Path, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    xl = Path(shutil.copytree(xl_model, tmp_path / "xl"))
    model = Path(shutil.copytree(random_model, tmp_path / "model"))
    tiny_assets.add_controlnet(xl, at_random=False)
    shutil.copytree(xl / "controlnet", model / "controlnet")
    diffusion = Diffusion()
    diffusion.load(model)
    with pytest.raises(EngineFailure, match="cross_attention_dim is 64, the model's 32") as caught:
        _pixels(diffusion, control_image=CONTROL)
    assert caught.value.code == "model-invalid"


def test_a_pipeline_that_was_saved_with_its_controlnet_is_a_model(
    random_model: Path, tmp_path: Path
) -> None:
    from tests.engine import tiny_assets

    model = Path(shutil.copytree(random_model, tmp_path / "model"))
    tiny_assets.add_controlnet(model, at_random=True)
    index = json.loads((model / "model_index.json").read_text())
    index |= {
        "_class_name": "StableDiffusionControlNetPipeline",
        "controlnet": ["diffusers", "ControlNetModel"],
    }
    (model / "model_index.json").write_text(json.dumps(index))
    diffusion = Diffusion()
    diffusion.load(model)
    assert _pixels(diffusion) != _pixels(diffusion, control_image=CONTROL)


def test_a_command_says_it_all(tmp_path: Path) -> None:
    from cdk_stable_diffusion.runtime_image.agent.child import _assets
    from cdk_stable_diffusion.runtime_image.agent.engine import AssetDirectory
    from cdk_stable_diffusion.runtime_image.engine.server import _additions

    one, other = (
        AssetDirectory(name=name, digest=name * 2, path=tmp_path / name, weight=weight)
        for name, weight in (("a", 0.5), ("b", -1.0))
    )
    header = {
        "adapters": _assets(one, other),
        "embeddings": _assets(),
        "vae": _assets(one),
        "control_scale": 0.25,
        "inputs": {"control_image": 4},
    }
    told = _additions(json.loads(json.dumps(header)), b"1234")
    first = Asset("a", "aa", tmp_path / "a", 0.5)
    assert told == {
        "adapters": (first, Asset("b", "bb", tmp_path / "b", -1.0)),
        "vae": first,
        "control_scale": 0.25,
        "control_image": b"1234",
    }
    assert replace(ORDER, **told).vae == first
