"""What each task type needs, takes and refuses; and that messages of before are still good."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from cdk_stable_diffusion.contract import (
    TASK_TYPES,
    Adapter,
    InvalidTask,
    ModelManifest,
    Parameters,
    ResultMessage,
    TaskMessage,
    TaskRequest,
    new_task_id,
)
from cdk_stable_diffusion.contract.task import TASK_FIELDS, request_faults
from cdk_stable_diffusion.contract.task_type import TASK_TYPE_RULES
from tests.contract import strategies as made

IMAGE, MASK = "s3://pictures/a.png", "https://example.org/mask.png"
LEAST: dict[str, dict[str, Any]] = {
    "text-to-image": {"prompt": "a cat"},
    "image-to-image": {"prompt": "a cat", "image": IMAGE},
    "inpainting": {"prompt": "a cat", "image": IMAGE, "mask": MASK},
    "upscale": {"image": IMAGE, "scale": 4},
}
EVERYTHING: dict[str, Any] = {
    "prompt": "a cat",
    "negative_prompt": "a dog",
    "image": IMAGE,
    "mask": MASK,
    "strength": 0.5,
    "scale": 2,
    "width": 64,
    "height": 64,
    "steps": 8,
    "guidance_scale": 3,
    "seed": 1,
    "num_images": 2,
    "scheduler": "ddim",
    "adapters": [{"name": "pixel-art"}],
    "embeddings": ["cat-toy"],
    "vae": "soft",
    "control_image": IMAGE,
    "control_scale": 0.5,
    "clip_skip": 2,
}


def _request(task_type: str, **fields: Any) -> dict[str, Any]:
    return {"model": "m", "task_type": task_type, **LEAST[task_type], **fields}


def _faults(value: dict[str, Any]) -> dict[str, str]:
    return {fault.pointer.removeprefix("/"): fault.detail for fault in request_faults(value)}


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_least_of_each_type_is_enough(task_type: str) -> None:
    request = TaskRequest.parse(_request(task_type))
    assert request.task_type == task_type
    assert TaskRequest.parse(request.to_dict()) == request


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_one_message_names_all_that_is_missing(task_type: str) -> None:
    faults = _faults({"model": "m", "task_type": task_type})
    assert set(faults) == set(LEAST[task_type])
    assert set(faults.values()) == {f"is missing: {task_type} needs it"}
    # Empty is as good as missing, for what can be empty.
    assert "prompt" not in LEAST[task_type] or "prompt" in _faults(_request(task_type, prompt=""))


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_one_message_names_all_that_does_not_belong(task_type: str) -> None:
    faults = _faults({"model": "m", "task_type": task_type, **EVERYTHING})
    assert set(faults) == set(TASK_TYPE_RULES[task_type].refuses)
    assert set(faults.values()) == {f"does not belong to {task_type}"} or not faults


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_what_is_not_used_may_be_spelt_out_as_such(task_type: str) -> None:
    defaults = {
        field.name: field.default
        for field in TASK_FIELDS
        if field.name not in (*LEAST[task_type], "model", "task_type")
    }
    assert _faults(_request(task_type, **defaults)) == {}


def test_every_rule_is_about_a_field() -> None:
    names = {field.name for field in TASK_FIELDS}
    for rules in TASK_TYPE_RULES.values():
        assert {*rules.needs, *rules.refuses} <= names
        assert not set(rules.needs) & set(rules.refuses)


def test_faults_of_fields_and_of_types_come_together_and_in_order() -> None:
    with pytest.raises(InvalidTask) as caught:
        TaskRequest.parse(
            {"task_type": "inpainting", "x": 1, "image": "file:///a", "scale": 2, "steps": 0}
        )
    pointers = [fault.pointer for fault in caught.value.faults]
    assert pointers == ["/x", "/model", "/prompt", "/image", "/mask", "/scale", "/steps"]


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "hunter2",
        "file:///etc/hunter2",
        "http://example.org/hunter2",
        "https://",
        "https://example.org/hunter2 x",
        "https://example.org/\nhunter2",
        "s3://hunter2",
        "s3://Hunter2/a",
        "s3://hunter2/a\x00",
        "data:image/gif;base64,hunter2=",
        "data:image/png;base64,hunter2!",
        "data:image/png,hunter2",
        "data:image/png;base64," + "hunter2/" * 8_000,
        7,
        ["s3://hunter2/a"],
        {"bucket": "hunter2"},
    ],
)
def test_what_is_no_reference_is_refused_and_not_repeated(reference: Any) -> None:
    faults = _faults(_request("image-to-image", image=reference))
    assert list(faults) == ["image"]
    assert "hunter2" not in faults["image"]


@pytest.mark.parametrize("scale", [0, 1, 3, 5, 8, 2.0, "2", True])
def test_a_scale_that_there_is_not_is_refused(scale: Any) -> None:
    assert list(_faults(_request("upscale", scale=scale))) == ["scale"]


@pytest.mark.parametrize("strength", [-0.1, 1.1, "0.5", True, 10**400])
def test_a_strength_out_of_range_is_refused(strength: Any) -> None:
    assert list(_faults(_request("inpainting", strength=strength))) == ["strength"]


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_empty_lists_are_as_good_as_none(task_type: str) -> None:
    request = TaskRequest.parse(_request(task_type, adapters=[], embeddings=[]))
    assert request == TaskRequest.parse(_request(task_type))
    assert not {"adapters", "embeddings"} & set(request.to_dict())


ADAPTER_FAULTS: dict[str, tuple[Any, str, str]] = {
    "a name": ("pixel", "adapters", "must be an array"),
    "a list of names": (["pixel"], "adapters/0", "must be a JSON object, not a string"),
    "without a name": ([{"weight": 1}], "adapters/0/name", "is missing"),
    "a path": ([{"name": "../secret"}], "adapters/0/name", "must be letters, digits and"),
    "too strong": (
        [{"name": "a"}, {"name": "b", "weight": 4.5}],
        "adapters/1/weight",
        "must be -4 to 4",
    ),
    "a weight in words": (
        [{"name": "a", "weight": "1"}],
        "adapters/0/weight",
        "must be a number",
    ),
    "a field too many": ([{"name": "a", "my /~": 1}], "adapters/0/my ~1~0", "is not a field"),
    "twice": (
        [{"name": "a"}, {"name": "b"}, {"name": "a", "weight": 2}],
        "adapters/2/name",
        "is 'a' again: once is enough",
    ),
    "nine": (
        [{"name": f"a{index}"} for index in range(9)],
        "adapters",
        "must have at most 8 items, has 9",
    ),
}


@pytest.mark.parametrize("kind", ADAPTER_FAULTS)
def test_a_fault_of_an_adapter_points_at_it(kind: str) -> None:
    adapters, pointer, says = ADAPTER_FAULTS[kind]
    faults = _faults(_request("text-to-image", adapters=adapters))
    assert list(faults) == [pointer]
    assert faults[pointer].startswith(says)


@pytest.mark.parametrize(
    ("embeddings", "pointer", "says"),
    [
        ("cat-toy", "embeddings", "must be an array"),
        (["a", 7], "embeddings/1", "must be a string"),
        (["<a>"], "embeddings/0", "must be letters, digits and"),
        (["a", "b", "a"], "embeddings/2", "is 'a' again: once is enough"),
        ([f"e{index}" for index in range(9)], "embeddings", "must have at most 8 items"),
    ],
)
def test_a_fault_of_an_embedding_points_at_it(embeddings: Any, pointer: str, says: str) -> None:
    faults = _faults(_request("text-to-image", embeddings=embeddings))
    assert list(faults) == [pointer]
    assert faults[pointer].startswith(says)


def test_an_adapter_works_as_it_was_trained_unless_told_otherwise() -> None:
    adapters = [{"name": "b"}, {"name": "a", "weight": None}, {"name": "c", "weight": -2}]
    request = TaskRequest.parse(_request("text-to-image", adapters=adapters))
    assert request.adapters == (Adapter("b", 1.0), Adapter("a", 1.0), Adapter("c", -2.0))
    spelt_out = [{"name": each.name, "weight": each.weight} for each in request.adapters]
    assert request.to_dict()["adapters"] == spelt_out


def test_a_control_scale_needs_a_picture() -> None:
    assert _faults(_request("text-to-image", control_scale=1)) == {
        "control_scale": "does nothing without control_image"
    }
    controlled = _request("text-to-image", control_scale=1, control_image=IMAGE)
    assert TaskRequest.parse(controlled).control_scale == 1.0


def test_the_type_travels_as_an_attribute() -> None:
    request = TaskRequest.parse(_request("upscale"))
    message = TaskMessage("i", "2026-01-01T00:00:00.000Z", "r", "static", request)
    assert message.attributes()["task_type"] == "upscale"


OLD_REQUEST = {
    "model": "m",
    "prompt": "p",
    "task_type": "text-to-image",
    "negative_prompt": "",
    "width": None,
    "height": None,
    "steps": None,
    "guidance_scale": None,
    "seed": None,
    "num_images": 1,
    "scheduler": None,
    "output_format": "png",
    "output_prefix": "",
    "context": None,
    "idempotency_key": "order-7",
}


def test_a_task_of_before_is_written_and_named_as_before() -> None:
    request = TaskRequest.parse(OLD_REQUEST)
    assert request.to_dict() == OLD_REQUEST
    assert new_task_id(request, "key-1") == "6fe2ca4b-a56b-58eb-8c2f-4ac80a21fa8f"


@given(made.text_to_image)
def test_agents_of_before_know_every_field_of_their_tasks(request: TaskRequest) -> None:
    assert set(replace(request, clip_skip=None).to_dict()) == set(OLD_REQUEST)


@given(made.result_messages)
def test_readers_of_before_know_every_field_of_a_drawn_result(result: ResultMessage) -> None:
    parameters = json.loads(result.to_json())["parameters"]
    if result.parameters is not None and result.parameters.strength is None:
        assert "strength" not in parameters
    if result.parameters is not None and result.parameters.scale is None:
        assert "scale" not in parameters


def test_readers_of_before_know_all_of_a_plain_picture_and_of_a_plain_model() -> None:
    assert Parameters(8, 8, 1, 1.0, 7).to_dict() == {
        **{"width": 8, "height": 8, "steps": 1, "guidance_scale": 1.0},
        **{"seed": 7, "scheduler": None},
    }
    manifest = json.loads(ModelManifest(name="m", files=()).to_json())
    assert set(manifest) == {"version", "name", "files", "defaults"}
    before = {"steps", "guidance_scale", "width", "height", "scheduler"}
    assert set(manifest["defaults"]) == before


@pytest.mark.parametrize("left_out", [{"steps"}, {"guidance_scale"}, {"steps", "scheduler"}])
def test_parameters_may_be_left_out_of_a_result(left_out: set[str]) -> None:
    parameters = {"width": 8, "height": 8, "steps": 1, "guidance_scale": 1.0, "seed": 1}
    kept = {name: value for name, value in parameters.items() if name not in left_out}
    text = made_result(kept)
    read = ResultMessage.from_json(text).parameters
    assert read is not None
    assert all(getattr(read, name) is None for name in left_out)


def made_result(parameters: dict[str, Any]) -> str:
    moment = "2026-01-01T00:00:00.000Z"
    seconds = ("waiting_seconds", "loading_seconds", "generating_seconds", "delivering_seconds")
    moments = ("submitted_at", "started_at", "finished_at")
    return json.dumps(
        {
            "version": "1",
            "task_id": "12345678-1234-1234-1234-123456789012",
            "status": "succeeded",
            "model": "m",
            "runtime": "r",
            "runtime_class": "static",
            "task_type": "upscale",
            "images": [],
            "parameters": parameters,
            "timings": {**dict.fromkeys(moments, moment), **dict.fromkeys(seconds, 0)},
            "attempt": 1,
        }
    )
