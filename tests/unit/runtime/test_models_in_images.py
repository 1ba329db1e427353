"""Models that are built into the image: the recipe, what Docker is told, and the hash."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack

import cdk_stable_diffusion
from cdk_stable_diffusion.runtime.image import RuntimeImage

_PACKAGE = Path(cdk_stable_diffusion.__file__).parent
_DOCKERFILE = (_PACKAGE / "runtime_image" / "Dockerfile").read_text()


def make_model(directory: Path, **files: str) -> Path:
    """Write a directory that passes for a pipeline's."""
    contents = {"model_index.json": "{}", "unet/weights.safetensors": "weights", **files}
    for name, content in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return directory


def staged(out: Path, models: Mapping[str, str | Path], **app: Any) -> tuple[str, dict[str, Any]]:
    """Return hash and source of the one image that an app publishes."""
    stack = Stack(App(outdir=str(out), **app), "Service")
    RuntimeImage.from_package(models=models)._bind(stack)
    stack.node.root.synth()  # type: ignore[attr-defined]
    manifest = json.loads((out / "Service.assets.json").read_text())
    ((digest, asset),) = manifest["dockerImages"].items()
    return digest, asset["source"]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Return where assemblies are written."""
    return tmp_path / "out"


def test_each_model_is_a_build_context_and_a_layer(tmp_path: Path, out: Path) -> None:
    xl, tiny = make_model(tmp_path / "xl"), make_model(tmp_path / "t")
    _, source = staged(out, {"sdxl-base-1.0": xl, "Tiny": str(tiny)})
    assert source["dockerBuildContexts"] == {"model-0": str(tiny), "model-1": str(xl)}
    text = (out / source["directory"] / source["dockerFile"]).read_text()
    assert text.startswith(_DOCKERFILE)
    added = [
        line
        for line in text.removeprefix(_DOCKERFILE).splitlines()
        if line and not line.startswith("#")
    ]
    assert added == [
        "USER 0:0",
        "COPY --link --chmod=0555 --from=model-0 / /opt/models/Tiny/",
        "COPY --link --chmod=0555 --from=model-1 / /opt/models/sdxl-base-1.0/",
        'RUN ["python", "-m", "cdk_stable_diffusion.runtime_image.agent.write_manifests"]',
        "USER 10001:10001",
    ]
    assert "SD_IMAGE_MODELS_DIRECTORY=/opt/models\n" in text


def test_nothing_of_a_model_is_copied_to_the_assembly(tmp_path: Path, out: Path) -> None:
    _, source = staged(out, {"m": make_model(tmp_path / "m")})
    _, plain = staged(tmp_path / "plain", {})
    copied, usual = (
        {path.relative_to(root) for path in root.rglob("*") if path.is_file()}
        for root in (out / source["directory"], tmp_path / "plain" / plain["directory"])
    )
    assert copied == usual
    assert Path("runtime_image/agent/write_manifests.py") in copied
    assert not list(out.rglob("*.safetensors"))


def test_without_models_nothing_is_added(out: Path) -> None:
    _, source = staged(out, {})
    assert "dockerBuildContexts" not in source
    assert (out / source["directory"] / source["dockerFile"]).read_text() == _DOCKERFILE


def test_the_hash_is_the_same_wherever_and_whenever_the_model_was_written(
    tmp_path: Path, out: Path
) -> None:
    here = make_model(tmp_path / "here")
    there = Path(shutil.copytree(here, tmp_path / "there" / "deeper"))
    for path in there.rglob("*"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
        path.chmod(0o700)
    first, _ = staged(out / "1", {"a": here, "b": make_model(tmp_path / "b")})
    second, _ = staged(out / "2", {"b": tmp_path / "b", "a": there})
    assert first == second


@pytest.mark.parametrize(
    "change",
    [
        lambda model: (model / "unet" / "weights.safetensors").write_text("weightz"),
        lambda model: (model / "unet" / "weights.safetensors").rename(
            model / "unet" / "other.safetensors"
        ),
        lambda model: (model / "new.json").write_text(""),
        lambda model: (model / "unet" / "weights.safetensors").unlink(),
    ],
    ids=["a byte", "a name", "a file more", "a file less"],
)
def test_the_hash_changes_with_every_byte(tmp_path: Path, out: Path, change: Any) -> None:
    model = make_model(tmp_path / "m")
    before, _ = staged(out / "1", {"m": model})
    # A file that is changed at once has another inode, as one that is changed later another time.
    model = Path(shutil.copytree(model, tmp_path / "changed"))
    change(model)
    after, _ = staged(out / "2", {"m": model})
    assert before != after


def test_the_hash_changes_with_name_and_number(tmp_path: Path, out: Path) -> None:
    model = make_model(tmp_path / "m")
    hashes = [
        staged(out / str(number), models)[0]
        for number, models in enumerate(({}, {"m": model}, {"n": model}, {"m": model, "n": model}))
    ]
    assert len(set(hashes)) == len(hashes)


def test_a_path_is_taken_from_where_the_app_runs(
    tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_model(tmp_path / "m")
    monkeypatch.chdir(tmp_path)
    _, source = staged(out, {"m": "m"})
    assert source["dockerBuildContexts"] == {"model-0": str(tmp_path / "m")}


def test_a_link_to_a_model_is_followed(tmp_path: Path, out: Path) -> None:
    (tmp_path / "latest").symlink_to(make_model(tmp_path / "v2"))
    _, source = staged(out, {"m": tmp_path / "latest"})
    assert source["dockerBuildContexts"] == {"model-0": str(tmp_path / "v2")}


def test_the_image_says_how_large_its_models_are(tmp_path: Path) -> None:
    one, two = make_model(tmp_path / "1"), make_model(tmp_path / "2", more="x" * 1000)
    assert RuntimeImage.from_package().model_bytes == 0
    assert RuntimeImage.from_package(models={"one": one, "two": two}).model_bytes == 1018


def test_every_fault_of_every_model_is_named_at_once(tmp_path: Path) -> None:
    make_model(tmp_path / "code", **{"unet/weights.bin": "", "pipeline.py": ""})
    make_model(tmp_path / "hidden", **{".gitattributes": ""})
    make_model(tmp_path / "defaults", **{"generation_defaults.json": '{"steps": "many"}'})
    linked = make_model(tmp_path / "linked")
    (linked / "vae").symlink_to(linked / "unet")
    (linked / "text.json").symlink_to(linked / "model_index.json")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    models = {
        "no/name": make_model(tmp_path / "good"),
        "nowhere": "no/such/directory",
        "number": 7,
        **{name: tmp_path / name for name in ("code", "hidden", "defaults", "linked", "empty")},
        "file": tmp_path / "file",
    }
    with pytest.raises(ValueError) as caught:
        RuntimeImage.from_package(models=models)  # type: ignore[arg-type]
    says = str(caught.value)
    assert says.startswith("RuntimeImage.from_package: ")
    for fault in (
        "models['no/name']: no model's name: 1 to ",
        "models['nowhere']: is 'no/such/directory': an existing directory",
        "models['number']: is 7: the path of a directory",
        "models['code']: pipeline.py is refused",
        "models['code']: unet/weights.bin is refused",
        "models['hidden']: '.gitattributes' must be a path of plain names",
        "models['defaults']: must be a whole number",
        "models['linked']: holds the symbolic link vae",
        "models['linked']: holds the symbolic link text.json",
        f"models['empty']: {tmp_path / 'empty'} has no model_index.json",
        f"models['file']: is '{tmp_path / 'file'}': an existing directory",
    ):
        assert fault in says
    assert says.count("models[") == 11


@pytest.mark.parametrize("models", [["sdxl"], "sdxl", Path("sdxl")])
def test_models_are_named(models: Any) -> None:
    with pytest.raises(ValueError, match=r"models is .*sdxl.*: directories by the models' names"):
        RuntimeImage.from_package(models=models)


def test_the_recipes_copy_goes_with_the_process_unless_it_is_referred_to(tmp_path: Path) -> None:
    make_model(tmp_path / "m")
    code = (
        "from aws_cdk import App, Stack\n"
        "from cdk_stable_diffusion.runtime.image import RuntimeImage\n"
        "for kept in (False, True):\n"
        "    context = {'aws:cdk:disable-asset-staging': kept}\n"
        "    app = App(outdir=f'kept-{kept}', context=context)\n"
        "    RuntimeImage.from_package(models={'m': 'm'})._bind(Stack(app, 'Service'))\n"
        "    app.synth()\n"
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "TMPDIR": str(temporary)},
        cwd=tmp_path,
        check=True,
    )
    (kept,) = temporary.glob("cdk-stable-diffusion-*")
    manifest = json.loads((tmp_path / "kept-True" / "Service.assets.json").read_text())
    ((_, asset),) = manifest["dockerImages"].items()
    assert Path(asset["source"]["directory"]) == kept
    assert (kept / asset["source"]["dockerFile"]).is_file()
