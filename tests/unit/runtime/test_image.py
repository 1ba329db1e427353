"""The image that is built from the package."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aws_cdk import App, Stack

from cdk_stable_diffusion.runtime import image as image_module
from cdk_stable_diffusion.runtime.image import RuntimeImage


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of the same shape as ours, which a test may change."""
    for name in (
        "__init__.py",
        "api/__init__.py",
        "contract/task.py",
        "contract/schema/task.json",
        "handler/app.py",
        "local/models/tiny/model.bin",
        "runtime_image/Dockerfile",
        "runtime_image/requirements.lock",
        "runtime_image/agent/__main__.py",
        "runtime_image/agent/__pycache__/__main__.cpython-311.pyc",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.setattr(image_module, "_PACKAGE", tmp_path)
    return tmp_path


def staged(out: Path) -> tuple[str, dict[str, object], set[str]]:
    """Return hash, source and files of the one image that an app publishes."""
    app = App(outdir=str(out))
    stack = Stack(app, "Service")
    RuntimeImage.from_package()._bind(stack)
    app.synth()
    manifest = json.loads((out / "Service.assets.json").read_text())
    ((digest, asset),) = manifest["dockerImages"].items()
    source = asset["source"]
    root = out / source["directory"]
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return digest, source, files


def test_holds_only_what_runs_in_it(
    package: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, source, files = staged(tmp_path_factory.mktemp("out"))
    assert files == {
        "__init__.py",
        "contract/task.py",
        "contract/schema/task.json",
        "runtime_image/Dockerfile",
        "runtime_image/requirements.lock",
        "runtime_image/agent/__main__.py",
    }
    assert source["dockerFile"] == "runtime_image/Dockerfile"
    assert source["platform"] == "linux/amd64"


@pytest.mark.parametrize(
    ("changed", "is_new"),
    [
        ("api/__init__.py", False),
        ("handler/app.py", False),
        ("local/models/tiny/model.bin", False),
        ("runtime_image/agent/__pycache__/__main__.cpython-311.pyc", False),
        ("contract/task.py", True),
        ("runtime_image/Dockerfile", True),
        ("runtime_image/agent/__main__.py", True),
        ("__init__.py", True),
    ],
)
def test_is_new_only_if_something_in_it_changes(
    package: Path, tmp_path_factory: pytest.TempPathFactory, changed: str, is_new: bool
) -> None:
    before, _, _ = staged(tmp_path_factory.mktemp("before"))
    (package / changed).write_text("changed")
    after, _, _ = staged(tmp_path_factory.mktemp("after"))
    assert (before != after) is is_new


def test_published_image_is_used_as_it_is() -> None:
    stack = Stack(App(), "Service")
    uri = f"registry.example/agent@sha256:{'0' * 64}"
    assert RuntimeImage.from_registry(uri)._bind(stack) == uri
    assert list(stack.node.children) == []
