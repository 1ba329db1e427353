"""What lies in a directory is found out from its files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract import InvalidModel, ModelManifest
from cdk_stable_diffusion.contract.safetensors_header import tensor_shapes
from tests.contract.safetensors_files import KOHYA, safetensors

Shapes = dict[str, tuple[int, ...]]

KINDS: dict[str, tuple[str, Shapes]] = {
    "LoRA of kohya": (
        "lora",
        {f"{KOHYA}.lora_down.weight": (4, 768), f"{KOHYA}.alpha": ()},
    ),
    "LoRA of diffusers": ("lora", {"unet.mid_block.to_q.lora_A.weight": (4, 8), "x": (1,)}),
    "LoRA of old diffusers": (
        "lora",
        {"unet.a.processor.to_q_lora.down.weight": (4, 8), "unet.a.to_q.lora.up.weight": (8, 4)},
    ),
    "embedding of diffusers": ("textual-inversion", {"<lora-cat>": (768,)}),
    "embedding of other tools": ("textual-inversion", {"emb_params": (8, 768)}),
    "embedding for XL": ("textual-inversion", {"clip_l": (2, 768), "clip_g": (2, 1280)}),
    "checkpoint": ("pipeline", {"model.diffusion_model.out.2.weight": (4, 8, 3, 3)}),
    "checkpoint of a kind to come": ("pipeline", {"fc.weight": (8, 8), "fc.bias": (8,)}),
    "VAE of a checkpoint": (
        "vae",
        {
            "first_stage_model.encoder.down.0.block.0.conv1.weight": (8, 8, 3, 3),
            "first_stage_model.decoder.conv_in.weight": (8, 4, 3, 3),
        },
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_is_found_in_a_directory_and_in_a_file_alone(tmp_path: Path, name: str) -> None:
    kind, shapes = KINDS[name]
    file = tmp_path / "weights.safetensors"
    file.write_bytes(safetensors(shapes, format="pt"))
    (tmp_path / "README.md").write_text("What it is.")
    manifest = ModelManifest.of_directory(tmp_path, "m")
    assert manifest.kind == kind
    assert [each.path for each in manifest.files] == ["README.md", "weights.safetensors"]
    assert json.loads(manifest.to_json()).get("kind", "pipeline") == kind
    alone = ModelManifest.of_directory(file, "m")
    assert (alone.kind, alone.files) == (kind, manifest.files[1:])


def test_a_vae_of_diffusers_needs_its_settings(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / "diffusion_pytorch_model.safetensors"
    shapes: Shapes = {
        "encoder.conv_in.weight": (8, 3, 3, 3),
        "decoder.conv_in.weight": (8, 4, 3, 3),
    }
    file.write_bytes(safetensors(shapes))
    assert ModelManifest.of_directory(tmp_path, "m").kind == "vae"
    with pytest.raises(InvalidModel, match=r"config\.json is not beside it: give its directory"):
        ModelManifest.of_directory(file, "m")


def test_a_pipeline_stays_one_and_is_written_as_before(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "pytorch_lora_weights.safetensors").write_bytes(
        safetensors(KINDS["LoRA of diffusers"][1])
    )
    manifest = ModelManifest.of_directory(tmp_path, "m")
    assert manifest.kind == "pipeline"
    assert set(json.loads(manifest.to_json())) == {"version", "name", "defaults", "files"}


def test_the_kind_is_no_part_of_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(safetensors({"emb_params": (1, 8)}))
    manifest = ModelManifest.of_directory(tmp_path, "m")
    again = ModelManifest(name="m", files=manifest.files)
    assert (again.kind, again.digest) == ("pipeline", manifest.digest)


@pytest.mark.parametrize(
    "prefix", ["model.diffusion_model.", "joint_blocks.0.", "double_blocks.0."]
)
def test_a_whole_model_in_one_file_is_a_model(tmp_path: Path, prefix: str) -> None:
    shapes: Shapes = {f"{prefix}weight": (8, 8)}
    (tmp_path / "a.safetensors").write_bytes(safetensors(shapes))
    # What the file lacks may lie beside it.
    (tmp_path / "vae").mkdir()
    (tmp_path / "vae" / "b.safetensors").write_bytes(safetensors({}))
    manifest = ModelManifest.of_directory(tmp_path, "m")
    assert (manifest.kind, len(manifest.files)) == ("pipeline", 2)
    assert "kind" not in json.loads(manifest.to_json())
    # An adapter may be called after the layers that it is for.
    shapes = {f"{prefix}lora_{half}.weight": (8, 8) for half in "AB"}
    (tmp_path / "a.safetensors").write_bytes(safetensors(shapes))
    with pytest.raises(InvalidModel, match=r"has weights beside a\.safetensors"):
        ModelManifest.of_directory(tmp_path, "m")
    (tmp_path / "vae" / "b.safetensors").unlink()
    assert ModelManifest.of_directory(tmp_path, "m").kind == "lora"


def _put(**files: bytes) -> Callable[[Path], None]:
    def put(directory: Path) -> None:
        for name, data in files.items():
            (directory / name.replace("__", ".")).write_bytes(data)

    return put


LORA = safetensors(KINDS["LoRA of kohya"][1])
NOTHING: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (_put(), "has no model_index.json"),
    "two files of weights": (
        _put(a__safetensors=LORA, b__safetensors=LORA),
        "no single .safetensors file: not a model",
    ),
    "LoHa": (
        _put(a__safetensors=safetensors({"lora_unet_a.hada_w1_a": (4, 8), "x.alpha": ()})),
        "is a LoHa, LoKr or OFT",
    ),
    "LoKr": (
        _put(a__safetensors=safetensors({"lora_unet_a.lokr_w1": (4, 8), "x.alpha": ()})),
        "is a LoHa, LoKr or OFT",
    ),
    "a pickle": (_put(a__safetensors=b"\x80\x04" + b"x" * 100), "is refused: it is a pickle"),
    "too short": (_put(a__safetensors=b"abc"), "is no safetensors file"),
    "a header beyond the end": (_put(a__safetensors=LORA[:20]), "is no safetensors file"),
    "a header of a list": (
        _put(a__safetensors=(2).to_bytes(8, "little") + b"[]"),
        "its header is no JSON object",
    ),
    "a header with a key twice": (
        _put(a__safetensors=(13).to_bytes(8, "little") + b'{"a":1,"a":2}'),
        "is no safetensors file",
    ),
    "a tensor without a shape": (
        _put(a__safetensors=(9).to_bytes(8, "little") + b'{"a":{} }'),
        "has no shape",
    ),
}


@pytest.mark.parametrize("name", NOTHING)
def test_what_is_none_of_them_is_refused(tmp_path: Path, name: str) -> None:
    put, says = NOTHING[name]
    put(tmp_path)
    with pytest.raises(InvalidModel) as caught:
        ModelManifest.of_directory(tmp_path, "m")
    assert says in str(caught.value)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@given(st.dictionaries(names.filter(lambda name: name != "__metadata__"), shapes, max_size=4))
def test_every_header_is_read_back(tmp_path_factory: pytest.TempPathFactory, made: Shapes) -> None:
    file = tmp_path_factory.mktemp("header") / "a.safetensors"
    file.write_bytes(safetensors(made))
    assert tensor_shapes(file) == made


@given(st.binary(max_size=40))
def test_no_bytes_break_the_reader(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("bytes") / "a.safetensors"
    file.write_bytes(data)
    try:
        assert isinstance(tensor_shapes(file), dict)
    except ValueError as error:
        assert "is no safetensors file" in str(error)
