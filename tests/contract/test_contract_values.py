"""Ids, seeds, keys, routes and manifests."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract import (
    InvalidMessage,
    InvalidModel,
    ModelManifest,
    RouteTable,
    TaskMessage,
    TaskRequest,
    derive_seed,
    image_seed,
    keys,
    limits,
    new_task_id,
    parse_timestamp,
    timestamp,
)
from cdk_stable_diffusion.contract.routing import Route
from tests.contract import strategies as made


@given(made.requests, st.text(), st.text())
def test_with_a_key_the_id_depends_on_caller_and_request(
    request: TaskRequest, caller: str, other: str
) -> None:
    if request.idempotency_key is None:
        assert new_task_id(request, caller) != new_task_id(request, caller)
        return
    task_id = new_task_id(request, caller)
    assert task_id == new_task_id(TaskRequest.parse(request.to_dict()), caller)
    assert (task_id == new_task_id(request, other)) == (caller == other)


def test_ids_and_seeds_are_the_same_on_every_machine() -> None:
    request = TaskRequest(model="m", prompt="p", idempotency_key="order-7")
    task_id = new_task_id(request, "key-1")
    assert task_id == "6fe2ca4b-a56b-58eb-8c2f-4ac80a21fa8f"
    assert derive_seed(task_id) == 1866108675


def test_another_request_under_the_same_key_is_another_task() -> None:
    first = TaskRequest(model="m", prompt="p", idempotency_key="order-7")
    second = TaskRequest(model="m", prompt="q", idempotency_key="order-7")
    assert new_task_id(first, "key-1") != new_task_id(second, "key-1")


@given(made.task_messages)
def test_a_task_that_runs_twice_has_the_same_seed(message: TaskMessage) -> None:
    again = TaskMessage.from_json(message.to_json())
    assert again.seed == message.seed
    assert 0 <= message.seed <= limits.MAX_SEED
    if message.request.seed is not None:
        assert message.seed == message.request.seed


def test_seeds_of_pictures_stay_in_range() -> None:
    assert [image_seed(limits.MAX_SEED, index) for index in range(3)] == [limits.MAX_SEED, 0, 1]


@given(made.requests, st.uuids().map(str))
def test_keys_of_a_task_stay_in_its_folder(request: TaskRequest, task_id: str) -> None:
    folder = keys.task_prefix(request.output_prefix, task_id)
    picture = keys.image_key(request.output_prefix, task_id, 3, request.output_format)
    result = keys.result_key(request.output_prefix, task_id)
    for key in (picture, result):
        assert key.startswith(folder)
        assert os.path.normpath(key) == key
        assert not key.startswith(("/", ".."))
        assert len(key.encode()) <= 1_024
    assert picture.endswith(("/03.png", "/03.jpg", "/03.webp"))


def test_a_table_without_runtimes_serves_nothing() -> None:
    assert RouteTable().resolve("m") is None
    assert RouteTable(dynamic="any").resolve("m") == Route("any", "dynamic")
    with pytest.raises(KeyError):
        RouteTable().filter_policies("any")


@given(st.datetimes(min_value=parse_timestamp("1970-01-01T00:00:00.000Z").replace(tzinfo=None)))
def test_times_come_back(moment: object) -> None:
    from datetime import datetime, timezone

    assert isinstance(moment, datetime)
    text = timestamp(moment.replace(tzinfo=timezone.utc))
    assert timestamp(parse_timestamp(text)) == text


def manifest_with(path: str) -> str:
    file = {"path": path, "size": 1, "sha256": "0" * 64}
    return json.dumps({"version": "1", "name": "m", "defaults": {}, "files": [file]})


def test_a_moment_that_does_not_exist_is_refused() -> None:
    request = TaskRequest(model="sdxl", prompt="a cat")
    message = TaskMessage(
        task_id=new_task_id(request, "caller"),
        submitted_at="2026-02-30T12:00:00.000Z",
        runtime="sdxl",
        runtime_class="static",
        request=request,
    )
    with pytest.raises(InvalidMessage, match=r"/submitted_at: .*does not exist"):
        TaskMessage.from_json(message.to_json())


@pytest.mark.parametrize(
    "path",
    [
        "../secret",
        "unet/../../secret",
        "/etc/passwd",
        "unet//weights",
        "./weights",
        "unet/.",
        ".ssh/key",
        "..",
        "a\\..\\b",
        "C:/x",
        "weights\n",
        "we\0ights",
        "",
        "x" * 513,
        "unet/",
    ],
)
def test_a_manifest_cannot_leave_its_directory(path: str) -> None:
    assert ModelManifest.from_json(manifest_with("unet/weights.safetensors"))
    with pytest.raises(InvalidModel, match="/files"):
        ModelManifest.from_json(manifest_with(path))


def test_a_manifest_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text("{}")
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"abc")
    (tmp_path / "generation_defaults.json").write_text('{"steps": 8, "guidance_scale": 3}')
    manifest = ModelManifest.of_directory(tmp_path, "m")
    assert [file.path for file in manifest.files] == [
        "generation_defaults.json",
        "model_index.json",
        "unet/weights.safetensors",
    ]
    assert (manifest.defaults.steps, manifest.defaults.guidance_scale) == (8, 3)
    digest = manifest.digest
    (tmp_path / "unet" / "weights.safetensors").write_bytes(b"abd")
    assert ModelManifest.of_directory(tmp_path, "m").digest != digest


def test_a_manifest_that_lies_in_the_directory_is_none_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    before = ModelManifest.of_directory(tmp_path, "m")
    (tmp_path / "model.json").write_text(before.to_json())
    assert ModelManifest.of_directory(tmp_path, "m") == before


def test_a_directory_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(InvalidModel) as caught:
        ModelManifest.of_directory(tmp_path, "a/b")
    says = str(caught.value)
    assert "model_index.json" in says
    assert ".hidden" in says
    assert "/name" in says
