"""The schemas say what the code does, and the files say what the schemas do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from cdk_stable_diffusion.contract import (
    TASK_TYPES,
    ModelManifest,
    ResultMessage,
    TaskMessage,
    TaskProgress,
    TaskRequest,
    schemas,
)
from cdk_stable_diffusion.contract.task import TASK_FIELDS, request_faults
from tests.contract import strategies as made

NAMES = sorted(schemas.DOCUMENTS)
VALIDATORS = {name: Draft4Validator(schemas.schema(name)) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_the_file_is_the_schema_of_the_code(name: str) -> None:
    text = (schemas.SCHEMA_DIRECTORY / f"{name}.json").read_text("utf-8")
    assert text == schemas.schema_text(name), "run python -m cdk_stable_diffusion.contract.schemas"


def test_there_is_no_file_without_a_schema() -> None:
    assert sorted(path.stem for path in schemas.SCHEMA_DIRECTORY.iterdir()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_is_a_schema_of_draft_4(name: str) -> None:
    Draft4Validator.check_schema(schemas.schema(name))


@pytest.mark.parametrize("field", TASK_FIELDS, ids=lambda field: field.name)
def test_every_field_of_a_task_is_described(field: Any) -> None:
    assert field.schema()["description"].endswith(".")


@settings(max_examples=100)
@given(
    made.requests, made.task_messages, made.result_messages, made.manifests, made.progress_reports
)
def test_what_the_code_writes_fits_the_schema(
    request: TaskRequest,
    message: TaskMessage,
    result: ResultMessage,
    manifest: ModelManifest,
    progress: TaskProgress,
) -> None:
    VALIDATORS["task-progress"].validate(progress.to_dict())
    VALIDATORS["task-request"].validate(request.to_dict())
    VALIDATORS["task-message"].validate(message.to_dict())
    VALIDATORS["result-message"].validate(result.to_dict())


# Values at, inside and outside every limit, of every type.
VALUES = (
    st.sampled_from(
        [None, True, 0, 1, 7, 8, 64, 65, 512, 2_048, 2_056, 150, 151, 8.0, 0.5, 30, 30.1, -1]
    )
    | st.sampled_from([2**32 - 1, 2**32, 10**30])
    | st.sampled_from(["", "x", "png", "ddim", "text-to-image", "a b", "../x", "a/b", "a//b", "é"])
    | st.sampled_from(["x" * 128, "x" * 129, "x" * 256, "x" * 257, "x" * 4_000, "x" * 4_001])
    | st.sampled_from(["image-to-image", "inpainting", "upscale", 2, 3, 4])
    | st.sampled_from(["s3://pictures/a.png", "https://example.org/a", "http://example.org/a"])
    | st.sampled_from(["data:image/png;base64,iVBO", "data:text/html;base64,iVBO"])
    | st.sampled_from([[], {}, ["png"], {"a": 1}, ["a", "a"], ["a"] * 9, [7]])
    | st.sampled_from([[{"name": "a"}], [{"name": "a", "weight": -4}], [{"name": "a/b"}]])
    | st.sampled_from([[{"name": "a", "weight": 5}], [{"weight": 1}], [{"name": "a", "x": 1}]])
    | st.sampled_from([[{"name": f"a{each}"} for each in range(count)] for count in (8, 9)])
)
ALMOST = st.dictionaries(
    st.sampled_from([*(field.name for field in TASK_FIELDS), "unknown"]), VALUES, max_size=5
)


TYPED = st.sampled_from([None, *TASK_TYPES]).map(lambda name: {"task_type": name} if name else {})
PICTURES: dict[str, Any] = {"image": "s3://pictures/a.png", "mask": "s3://pictures/b.png"}


@settings(max_examples=300)
@given(TYPED, st.sets(st.sampled_from(["prompt", "image", "mask", "scale"])), ALMOST)
def test_code_and_schema_agree_on_every_task_type(
    typed: dict[str, Any], given_fields: set[str], almost: dict[str, Any]
) -> None:
    good = {"prompt": "a cat", "scale": 2, **PICTURES}
    chosen = {name: good[name] for name in given_fields}
    value = {"model": "tiny", **typed, **chosen, **dict(list(almost.items())[:1])}
    assert VALIDATORS["task-request"].is_valid(value) == (request_faults(value) == [])


@settings(max_examples=400)
@given(ALMOST, st.booleans())
def test_code_and_schema_agree_on_every_request(value: dict[str, Any], complete: bool) -> None:
    if complete:
        value = {"model": "tiny", "prompt": "a cat", **value}
    faults = request_faults(value)
    # Only what several fields make together is beyond a schema.
    of_the_code_alone = [
        fault
        for fault in faults
        if "width x height" in fault.detail or "does nothing without" in fault.detail
    ]
    assert VALIDATORS["task-request"].is_valid(value) == (faults == of_the_code_alone)


@settings(max_examples=100)
@given(ALMOST)
def test_every_fault_points_at_its_field(value: dict[str, Any]) -> None:
    wrong = {error.path[0] for error in VALIDATORS["task-request"].iter_errors(value) if error.path}
    pointed = {fault.pointer.split("/")[1] for fault in request_faults(value)}
    assert wrong <= pointed
