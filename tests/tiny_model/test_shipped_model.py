"""The shipped model: small, readable, at home without a network, and right about its prompts."""

from __future__ import annotations

import json
import os
import random
import socket
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools.tiny_model.classifier import judge
from tools.tiny_model.grammar import describe, random_one_object, random_two_objects

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src" / "cdk_stable_diffusion" / "local" / "models" / "tiny-shapes"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def pipeline() -> Any:
    """The model, loaded while no connection can be opened."""
    from tools.tiny_model.pipeline import load

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", _no_network)
        return load(FOLDER)


def _no_network(*_arguments: object) -> None:
    raise AssertionError("the model must load without a network")


def _generate(pipeline: Any, prompts: Sequence[str]) -> list[Image.Image]:
    from tools.tiny_model.pipeline import generate, load_defaults

    return generate(pipeline, prompts, range(len(prompts)), load_defaults(FOLDER))


def _difference(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_it_is_small_and_readable() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 4 * MEGABYTE
    assert all(os.access(path, os.R_OK) for path in files)


def test_its_weights_are_half_precision() -> None:
    from safetensors import safe_open

    files = sorted(FOLDER.rglob("*.safetensors"))
    assert [path.parent.name for path in files] == ["text_encoder", "unet", "vae"]
    for path in files:
        with safe_open(path, "pt") as weights:
            kinds = {weights.get_slice(name).get_dtype() for name in weights.keys()}
        assert kinds == {"F16"}


def test_its_defaults_suit_it() -> None:
    defaults = json.loads((FOLDER / "generation_defaults.json").read_text())
    assert defaults == {"steps": 8, "guidance_scale": 3.0, "width": 64, "height": 64}


def test_it_follows_its_prompts(pipeline: Any) -> None:
    source = random.Random(21)
    prompts = [describe(random_one_object(source)) for _ in range(18)]
    prompts += [describe(random_two_objects(source)) for _ in range(6)]
    images = _generate(pipeline, prompts)
    wrong = [
        prompt
        for prompt, image in zip(prompts, images, strict=True)
        if not judge(image, prompt).things_right
    ]
    assert len(wrong) <= len(prompts) // 10, wrong


def test_any_text_makes_a_picture(pipeline: Any) -> None:
    prompts = ["", "an astronaut riding a horse", "日本", "a red circle " * 50]
    for image in _generate(pipeline, prompts):
        assert image.size == (64, 64)
        assert np.asarray(image).std() > 1.0


def test_a_seed_makes_one_picture_alone_and_in_a_batch(pipeline: Any) -> None:
    prompts = ["a red circle on a blue background", "a white star on a black background"]
    together = _generate(pipeline, prompts)
    again = _generate(pipeline, prompts)
    (alone,) = _generate(pipeline, prompts[:1])
    assert [image.tobytes() for image in together] == [image.tobytes() for image in again]
    assert _difference(together[0], alone) < 0.1


def test_a_negative_prompt_steers(pipeline: Any) -> None:
    import torch

    def make(negative: str) -> Any:
        return pipeline(
            "a circle",
            negative_prompt=negative,
            num_inference_steps=8,
            guidance_scale=3.0,
            generator=torch.Generator().manual_seed(1),
        ).images[0]

    assert _difference(make(""), make("a red circle on a white background")) > 5.0


def test_it_starts_from_a_picture_and_fills_a_hole(pipeline: Any) -> None:
    import torch
    from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline

    (image,) = _generate(pipeline, ["a large red heart on a white background"])
    prompt = "a large blue heart on a white background"
    settings = {"num_inference_steps": 8, "guidance_scale": 3.0}
    from_image = StableDiffusionImg2ImgPipeline.from_pipe(pipeline)(
        prompt, image=image, strength=0.9, generator=torch.Generator().manual_seed(1), **settings
    ).images[0]
    assert judge(from_image, prompt).things_right
    right_half = Image.new("L", (64, 64))
    right_half.paste(255, (32, 0, 64, 64))
    filled = StableDiffusionInpaintPipeline.from_pipe(pipeline)(
        prompt,
        image=image,
        mask_image=right_half,
        width=64,
        height=64,
        generator=torch.Generator().manual_seed(1),
        **settings,
    ).images[0]
    left = (0, 0, 28, 64)
    assert _difference(filled.crop(left), image.crop(left)) < 8.0
    assert _difference(filled, image) > 1.0


def test_a_saved_model_may_be_read_by_everyone(tmp_path: Path) -> None:
    from tools.tiny_model import denoiser, distillation
    from tools.tiny_model.pipeline import load, save

    (tmp_path / "README.md").write_text("kept")
    save(denoiser.build(), distillation.build(), tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o644}
    assert (tmp_path / "README.md").read_text() == "kept"
    assert len(_generate(load(tmp_path), ["a red circle"])) == 1


def test_the_sample_grid_has_a_cell_for_each_picture() -> None:
    from tools.tiny_model.grid import compose, sample_prompts

    prompts = sample_prompts()
    sheet = compose([Image.new("RGB", (64, 64), "red")] * len(prompts), prompts)
    assert sheet.width > 6 * 128
    assert sheet.height > 5 * 128
