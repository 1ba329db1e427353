"""Single-file checkpoints: what is shipped for them fits the real files, and others are refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.contract.safetensors_header import Header
from cdk_stable_diffusion.runtime_image.engine import tokenizers
from cdk_stable_diffusion.runtime_image.engine.checkpoint_family import family_of
from cdk_stable_diffusion.runtime_image.engine.diffusion import Diffusion, Order
from cdk_stable_diffusion.runtime_image.engine.failure import EngineFailure
from cdk_stable_diffusion.runtime_image.engine.loading import load_pipeline
from cdk_stable_diffusion.runtime_image.engine.single_file import load_single_file
from cdk_stable_diffusion.runtime_image.engine.tokenizers import CONFIGS
from tests.engine import checkpoints as made

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning:diffusers"
)


@pytest.fixture(scope="module", autouse=True)
def libraries() -> None:
    """Import as the engine does."""
    from cdk_stable_diffusion.runtime_image.engine.libraries import import_libraries

    import_libraries()


def _whole_sd3(t5: bool) -> made.Shapes:
    return {**made.sd3(), **made.sd3_text_encoders(t5=t5)}


def _fingerprint(shapes: made.Shapes) -> str:
    said = [f"{key}:{'_'.join(map(str, shape))}" for key, shape in shapes.items()]
    return hashlib.md5(",".join(sorted([*said, *shapes])).encode()).hexdigest()


def _within(shapes: made.Shapes, prefix: str) -> made.Shapes:
    return {key: shape for key, shape in shapes.items() if key.startswith(prefix)}


# By these DiffSynth-Studio 1.1 tells the published files: over their keys and shapes.
REAL: dict[str, tuple[Callable[[], made.Shapes], str]] = {
    "SD 1.5's UNet": (lambda: _within(made.sd15(), "model."), "3926bf373b39a67eeafd7901478a47a7"),
    "SD 1.5's VAE": (
        lambda: _within(made.sd15(), "first_stage_model."),
        "d0c89e55c5a57cf3981def0cb1c9e65a",
    ),
    "SD 1.5's CLIP": (
        lambda: _within(made.sd15(), "cond_stage_model."),
        "d4ba77a7ece070679b4a987f58f201e9",
    ),
    "SDXL": (made.sdxl, "4cf64a799d04260df438c6f33c9a047e"),
    "SD 3 medium": (lambda: _whole_sd3(t5=False), "1e0c39ec176b9007c05f76d52b554a4d"),
    "SD 3 medium with T5": (lambda: _whole_sd3(t5=True), "d9e0290829ba8d98e28e1a2b1407db4a"),
    "SD 3.5 medium": (
        lambda: made.sd3(positions=384, normed=True, dual=13),
        "77ff18050dbc23f50382e45d51a779fe",
    ),
    "SD 3.5 large": (
        lambda: made.sd3(layers=38, normed=True),
        "51aed3d27d482fceb5e0739b03060e8f",
    ),
    "FLUX.1 dev": (lambda: made.flux(guidance=True), "a29710fea6dddb0314663ee823598e50"),
    "FLUX.1 schnell": (lambda: made.flux(guidance=False), "57b02550baab820169365b3ee3afa2c9"),
    "FLUX.1's VAE": (
        lambda: made.autoencoder("", latents=16, quantised=False),
        "21ea55f476dfc4fd135587abb59dfe5d",
    ),
}


@pytest.mark.parametrize("name", REAL)
def test_the_made_up_files_have_the_keys_and_shapes_of_the_published(name: str) -> None:
    shapes, fingerprint = REAL[name]
    assert _fingerprint(shapes()) == fingerprint


# Shapes; family; folder of its configurations; parameters of its largest component.
FAMILIES: dict[str, tuple[Callable[[], made.Shapes], str, int]] = {
    "SD 1.5": (made.sd15, "sd15", 859_520_964),
    "SD 2.1": (made.sd21, "sd21", 865_910_724),
    "SDXL": (made.sdxl, "sdxl", 2_567_463_684),
    "SD 3 medium": (lambda: _whole_sd3(t5=True), "sd3", 2_028_328_000),
    "SD 3.5 medium": (
        lambda: made.sd3(positions=384, normed=True, dual=13),
        "sd35_medium",
        2_243_171_520,
    ),
    "SD 3.5 large": (lambda: made.sd3(layers=38, normed=True), "sd35_large", 8_056_627_520),
    "FLUX.1 dev": (lambda: made.flux_whole(guidance=True), "flux_dev", 11_901_408_320),
    "FLUX.1 schnell": (lambda: made.flux(guidance=False), "flux_schnell", 11_891_178_560),
}


def _header(shapes: Mapping[str, tuple[int, ...]], **metadata: str) -> Header:
    return Header(shapes=shapes, types=frozenset({"F16"}), metadata=metadata)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_is_known_by_its_keys_and_shapes(name: str) -> None:
    shapes, configs, _ = FAMILIES[name]
    family = family_of(_header(shapes()))
    assert (family.name, family.configs) == (name, configs)
    assert family.parts.keys() >= {"vae"}


@pytest.mark.parametrize("kind", FAMILIES)
def test_the_shipped_configurations_are_those_of_the_files(kind: str) -> None:
    """Every tensor of a component is in the file after diffusers' conversion, in its shape."""
    shapes, configs, parameters = FAMILIES[kind]
    present = shapes()
    family = family_of(_header(present))
    for name in family.parts:
        component = _component(CONFIGS / configs, name)
        if name in ("unet", "transformer"):
            assert sum(each.numel() for each in component.parameters()) == parameters
        if family.holds(_header(present), name):
            wanted = {key: tuple(value.shape) for key, value in component.state_dict().items()}
            assert _converted(component, name, present) == wanted


def _component(configs: Path, name: str) -> Any:
    """Return a component as its configuration says, without memory for its weights."""
    import diffusers
    import torch
    import transformers

    index = json.loads((configs / "model_index.json").read_text())
    library, class_name = index[name]
    with torch.device("meta"):
        if library == "diffusers":
            chosen = getattr(diffusers, class_name)
            return chosen.from_config(json.loads((configs / name / "config.json").read_text()))
        chosen = getattr(transformers, class_name)
        return chosen(chosen.config_class.from_pretrained(str(configs / name)))


def _converted(component: Any, name: str, shapes: made.Shapes) -> made.Shapes:
    import torch
    from diffusers.loaders import single_file_utils as utils

    checkpoint: Any = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    kind = type(component).__name__
    if kind == "UNet2DConditionModel":
        found = utils.convert_ldm_unet_checkpoint(checkpoint, component.config)
    elif kind == "AutoencoderKL":
        found = utils.convert_ldm_vae_checkpoint(checkpoint, component.config)
    elif kind == "SD3Transformer2DModel":
        found = utils.convert_sd3_transformer_checkpoint_to_diffusers(checkpoint)
    elif kind == "FluxTransformer2DModel":
        found = utils.convert_flux_transformer_checkpoint_to_diffusers(checkpoint)
    elif kind == "T5EncoderModel":
        found = utils.convert_sd3_t5_checkpoint_to_diffusers(checkpoint)
    else:
        found = _text_encoder(utils, checkpoint, component, name)
    # What CLIP numbers its places by is no weight.
    return {key: tuple(value.shape) for key, value in found.items() if "position_ids" not in key}


def _text_encoder(utils: Any, checkpoint: Any, component: Any, name: str) -> Any:
    import torch

    if "text_encoders.clip_l.transformer.text_model.final_layer_norm.bias" in checkpoint:
        prefix = f"text_encoders.{'clip_l' if name == 'text_encoder' else 'clip_g'}.transformer."
        found = utils.convert_ldm_clip_checkpoint(checkpoint, prefix)
        if name == "text_encoder":
            found["text_projection.weight"] = torch.empty((768, 768), device="meta")
    elif "cond_stage_model.model.ln_final.bias" in checkpoint:
        found = utils.convert_open_clip_checkpoint(component, checkpoint)
    elif name == "text_encoder_2":
        prefix = "conditioner.embedders.1.model."
        found = utils.convert_open_clip_checkpoint(component, checkpoint, prefix=prefix)
    else:
        found = utils.convert_ldm_clip_checkpoint(checkpoint)
    if type(component).__name__ == "CLIPTextModel":
        found = {key.removeprefix("text_model."): value for key, value in found.items()}
        found.pop("text_projection.weight", None)
    return found


def test_the_tokenizers_are_the_published() -> None:
    clip, filled, t5 = (
        tokenizers.clip_tokenizer(),
        tokenizers.clip_tokenizer(pad="!"),
        tokenizers.t5_tokenizer(),
    )
    prompt = "a photo of an astronaut"
    assert clip(prompt).input_ids == [49406, 320, 1125, 539, 550, 18376, 49407]
    assert t5(prompt).input_ids == [3, 9, 1202, 13, 46, 30059, 1]
    for tokenizer, pad in ((clip, 49407), (filled, 0)):
        ids = tokenizer("A  PHOTO", padding="max_length", truncation=True).input_ids
        assert ids == [49406, 320, 1125, 49407, *[pad] * 73]
    assert (len(clip), len(t5), t5.model_max_length) == (49408, 32100, 512)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write a small checkpoint of the kind of SD 1.5, and the configurations that it has."""
    root = tmp_path_factory.mktemp("small")
    shutil.copytree(CONFIGS / "sd15", root / "configs" / "sd15")
    changes: dict[str, dict[str, Any]] = {
        "unet": {"block_out_channels": [32, 64, 128, 128], "sample_size": 8},
        "vae": {"block_out_channels": [32, 64, 128, 128]},
        "text_encoder": {"num_hidden_layers": 1},
    }
    for component, change in changes.items():
        path = root / "configs" / "sd15" / component / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    model = root / "model"
    model.mkdir()
    shapes = made.sd15(width=32, vae_width=32, layers=1)
    made.write_holes(model / "painter.safetensors", shapes)
    return model, root / "configs"


def test_a_checkpoint_draws(small: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    model, configs = small
    from cdk_stable_diffusion.runtime_image.engine import loading

    def load(path: Path, *, in_half: bool) -> Any:
        return load_single_file(path, in_half=in_half, configs=configs)

    monkeypatch.setattr(loading, "load_single_file", load)
    diffusion = Diffusion()
    diffusion.load(model)
    order = Order("a cat", "", (1,), None, None, 2, None, "euler")
    (picture,), parameters = diffusion.draw(order, lambda *_: None, lambda: False)
    assert (picture.width, picture.height, parameters["steps"]) == (64, 64, 2)
    # Without weights nothing is drawn but the middle of all greys.
    assert set(picture.pixels) == {128}


def test_a_folder_beside_it_is_taken_in_place_of_its_own(
    small: tuple[Path, Path], tmp_path: Path
) -> None:
    from diffusers import AutoencoderKL, EulerDiscreteScheduler

    model, configs = small
    shutil.copytree(model, tmp_path / "model")
    config = json.loads((configs / "sd15" / "vae" / "config.json").read_text())
    AutoencoderKL.from_config({**config, "scaling_factor": 0.5}).save_pretrained(
        tmp_path / "model" / "vae"
    )
    EulerDiscreteScheduler(beta_end=0.5, steps_offset=1).save_pretrained(
        tmp_path / "model" / "scheduler"
    )
    path = tmp_path / "model" / "painter.safetensors"
    pipeline = load_single_file(path, in_half=False, configs=configs)
    assert pipeline.vae.config.scaling_factor == 0.5
    assert type(pipeline.scheduler) is EulerDiscreteScheduler
    assert pipeline.scheduler.config.beta_end == 0.5


@pytest.mark.parametrize(
    ("marks", "metadata", "kind", "prediction"),
    [
        ((), {}, "PNDMScheduler", "epsilon"),
        (("v_pred",), {}, "PNDMScheduler", "v_prediction"),
        ((), {"modelspec.prediction_type": "v"}, "PNDMScheduler", "v_prediction"),
        (("v_pred", "ztsnr"), {}, "EulerDiscreteScheduler", "v_prediction"),
    ],
)
def test_how_it_predicts_is_heeded(
    marks: tuple[str, ...], metadata: dict[str, str], kind: str, prediction: str
) -> None:
    from cdk_stable_diffusion.runtime_image.engine.schedulers import scheduler_from
    from cdk_stable_diffusion.runtime_image.engine.single_file import _as_trained

    scheduler = _as_trained(
        scheduler_from(CONFIGS / "sd15" / "scheduler"),
        _header(dict.fromkeys(marks, (0,)), **metadata),
    )
    assert (type(scheduler).__name__, scheduler.config.prediction_type) == (kind, prediction)
    assert bool(scheduler.config.get("rescale_betas_zero_snr")) == ("ztsnr" in marks)


def _model(directory: Path, shapes: made.Shapes, kind: str = "F16") -> Path:
    made.write_holes(directory / "a.safetensors", shapes, kind)
    return directory


def _refusal(directory: Path) -> str:
    with pytest.raises(EngineFailure) as caught:
        load_pipeline(directory, in_half=True)
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    return caught.value.detail


def _changed(shapes: made.Shapes, key: str, *shape: int) -> made.Shapes:
    return {**shapes, key: shape}


UNET = "model.diffusion_model."
REFUSED: dict[str, tuple[Callable[[], made.Shapes], str]] = {
    "nothing": (dict, "it has no tensors; supported: SD 1.5, SD 2.1, SDXL, SD 3, SD 3.5 and FLUX"),
    "anything": (lambda: {"b": (1,), "a": (1,)}, "it has 2 tensors, the first a, b"),
    "a LoRA adapter": (lambda: {"lora_unet_x.lora_down.weight": (1,)}, "it is a LoRA adapter"),
    "a component": (lambda: {"down_blocks.0.x": (1,)}, "one component of a diffusers directory"),
    "an autoencoder": (lambda: made.autoencoder(""), "it is an autoencoder alone"),
    "inpainting": (
        lambda: _changed(made.sd15(), f"{UNET}input_blocks.0.0.weight", 320, 9, 3, 3),
        "takes 9 channels: it is for inpainting alone",
    ),
    "the refiner": (
        lambda: _changed(
            made.sdxl(),
            f"{UNET}input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight",
            640,
            1280,
        ),
        "it is the SDXL refiner",
    ),
    "quantised": (
        lambda: _changed(made.flux(guidance=True), "double_blocks.0.scale_weight"),
        "has scales beside its weights",
    ),
    "half a FLUX": (
        lambda: {k: v for k, v in made.flux(guidance=True).items() if "_blocks.18." not in k},
        "it is like FLUX.1, but has 18 + 37 blocks",
    ),
    "FLUX to fill": (
        lambda: _changed(made.flux(guidance=True), "img_in.weight", 3072, 384),
        "takes 384 channels",
    ),
    "another SD 3": (lambda: made.sd3(layers=30), "it is like SD 3, but has 30 blocks"),
    "no VAE": (
        lambda: {k: v for k, v in made.sd15().items() if not k.startswith("first_stage_model")},
        "a.safetensors is SD 1.5, but has no vae; put each beside it as the folder",
    ),
    "FLUX as published": (
        lambda: made.flux(guidance=False),
        "FLUX.1 schnell, but has no text_encoder, text_encoder_2, vae; put each beside it",
    ),
    "SD 3 as published": (made.sd3, "SD 3 medium, but has no text_encoder, text_encoder_2, text"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_supported_is_refused_with_what_was_seen(name: str, tmp_path: Path) -> None:
    shapes, says = REFUSED[name]
    assert says in _refusal(_model(tmp_path, shapes()))


def test_a_checkpoint_with_holes_in_it_is_refused(small: tuple[Path, Path], tmp_path: Path) -> None:
    _, configs = small
    shapes = made.sd15(width=32, vae_width=32, layers=1)
    del shapes[f"{UNET}middle_block.0.in_layers.0.bias"]
    made.write_holes(tmp_path / "a.safetensors", shapes)
    with pytest.raises(EngineFailure, match=r"is SD 1\.5 by its first tensors, but does not"):
        load_single_file(tmp_path / "a.safetensors", in_half=True, configs=configs)


class _Malice:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("name", ["model.ckpt", "model.CKPT", "model.safetensors", "vae/x.pt"])
def test_a_pickle_never_runs_whatever_its_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    (model / "vae").mkdir(parents=True)
    (model / name).write_bytes(pickle.dumps(_Malice()))
    diffusion = Diffusion()
    with pytest.raises(EngineFailure) as caught:
        diffusion.load(model)
    assert caught.value.code == "model-invalid"
    assert name in caught.value.detail
    assert not (tmp_path / "ran").exists()
    # It would have, elsewhere.
    pickle.loads((model / name).read_bytes())
    assert (tmp_path / "ran").exists()


def test_headers_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    for data in (b"", b"\xff" * 64, b"\x02\0\0\0\0\0\0\0[]", b"\x08\0\0\0\0\0\0\0" + b'{"a":1}\n'):
        path.write_bytes(data)
        with pytest.raises(EngineFailure, match=r"a\.safetensors is no safetensors file"):
            load_single_file(path, in_half=True)
