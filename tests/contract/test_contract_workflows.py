"""ComfyUI workflows as models, and the engines' settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cdk_stable_diffusion.contract import InvalidModel, ModelManifest, TaskRequest
from cdk_stable_diffusion.contract.engines import is_engine_url
from cdk_stable_diffusion.contract.model import is_model
from cdk_stable_diffusion.contract.workflow import InvalidWorkflow, Workflow
from tests.http_engines.workflows import workflow_files


def written(directory: Path, files: dict[str, bytes]) -> Path:
    for path, data in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(data)
    return directory


def test_a_workflow_is_published_as_any_model(tmp_path: Path) -> None:
    manifest = ModelManifest.of_directory(written(tmp_path, workflow_files()), "flow")
    assert [file.path for file in manifest.files] == [
        "checkpoints/base.safetensors",
        "workflow.json",
        "workflow_inputs.json",
    ]
    assert ModelManifest.from_json(manifest.to_json()) == manifest


def test_a_wrong_workflow_is_not_published(tmp_path: Path) -> None:
    files = {**workflow_files(), "workflow_inputs.json": b'{"inputs": {}, "node": 1}'}
    with pytest.raises(InvalidModel, match="/node: is not a field"):
        ModelManifest.of_directory(written(tmp_path, files), "flow")


def test_a_request_for_a_workflow_is_any_request() -> None:
    assert TaskRequest.parse({"model": "flow", "prompt": "a cat", "steps": 5}).model == "flow"


def test_filling_leaves_the_workflow_as_it_was(tmp_path: Path) -> None:
    workflow = Workflow.read(written(tmp_path, workflow_files()))
    before = json.dumps(workflow.nodes)
    filled = workflow.renamed({"base.safetensors": "x/base.safetensors"}).filled({"seed": 3})
    assert filled["3"]["inputs"]["seed"] == 3
    assert filled["4"]["inputs"]["ckpt_name"] == "x/base.safetensors"
    assert json.dumps(workflow.nodes) == before


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"workflow.json": b" " * (1024 * 1024 + 1)}, "at most 1048576 bytes"),
        ({"workflow.json": b"\xff"}, "codec"),
        ({"workflow.json": b"[" * 100_000}, "nested too deeply"),
        (
            {
                "workflow.json": json.dumps(
                    {str(node): {"class_type": "A", "inputs": {}} for node in range(1_001)}
                ).encode()
            },
            "at most 1000 nodes",
        ),
        ({"workflow_inputs.json": b"[]"}, "must be a JSON object"),
        ({"workflow_inputs.json": b'{"inputs": {"seed": {"node": "3"}}}'}, "must be an array"),
    ],
    ids=["bytes", "text", "depth", "nodes", "array", "place"],
)
def test_what_is_no_workflow(tmp_path: Path, files: dict[str, bytes], says: str) -> None:
    with pytest.raises(InvalidWorkflow) as caught:
        Workflow.read(written(tmp_path, {**workflow_files(), **files}))
    assert says in str(caught.value)


def test_a_prompt_in_a_workflow_may_hold_anything(tmp_path: Path) -> None:
    nodes: dict[str, Any] = {
        "1": {"class_type": "A", "inputs": {"text": "/ a slash, and ../ dots", "links": ["2", 0]}}
    }
    files = {**workflow_files(), "workflow.json": json.dumps(nodes).encode()}
    files["workflow_inputs.json"] = b'{"inputs": {}}'
    assert Workflow.read(written(tmp_path, files)).inputs == {}


@pytest.mark.parametrize(
    ("paths", "good"),
    [
        (["model_index.json"], True),
        (["workflow.json"], True),
        (["base.safetensors"], True),
        (["a.safetensors", "b.safetensors"], False),
        (["unet/a.safetensors"], False),
        (["sub/workflow.json"], False),
        ([], False),
    ],
    ids="pipeline workflow checkpoint two deeper elsewhere nothing".split(),
)
def test_what_a_model_is(paths: list[str], good: bool) -> None:
    assert is_model(paths) is good


@pytest.mark.parametrize(
    ("url", "good"),
    [
        ("http://127.0.0.1:8188", True),
        ("http://localhost:7860/", True),
        ("http://[::1]:8188", True),
        ("http://127.0.0.1", False),
        ("https://127.0.0.1:8188", False),
        ("http://10.0.0.1:8188", False),
        ("http://example.org:8188", False),
        ("http://user@127.0.0.1:8188", False),
        ("http://127.0.0.1:8188/api", False),
        ("http://127.0.0.1:port", False),
        ("", False),
    ],
)
def test_an_engine_is_on_this_machine(url: str, good: bool) -> None:
    assert is_engine_url(url) is good
