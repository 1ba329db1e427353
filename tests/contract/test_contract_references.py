"""What names a task to the API, and where its things lie."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given

from cdk_stable_diffusion.contract import InvalidTask, TaskReference, TaskRequest
from cdk_stable_diffusion.contract.keys import (
    RETURNED_PREFIX,
    cancel_key,
    image_key,
    progress_key,
    result_key,
)
from tests.contract import strategies as made

TASK_ID = "12345678-1234-4234-8234-123456789012"


def keys(reference: TaskReference) -> set[str]:
    folder = (reference.output_prefix, reference.task_id)
    pictures = (image_key(*folder, index, "png") for index in range(8))
    return {result_key(*folder), progress_key(*folder), cancel_key(*folder), *pictures}


@given(made.task_references)
def test_a_task_is_found_by_its_path(reference: TaskReference) -> None:
    parts = urlsplit(reference.path)
    assert re.fullmatch(r"[!-~]+", reference.path)
    folder, _, task_id = parts.path.rpartition("/")
    assert folder == "/v1/tasks"
    query = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    assert TaskReference.parse({"task_id": task_id, **query}) == reference


@given(made.task_references, made.task_references)
def test_no_task_lies_on_anothers_keys(one: TaskReference, other: TaskReference) -> None:
    # Inside the other's folder, which is as near as a client can bring it.
    inside = TaskReference(one.task_id, f"{other.output_prefix}/{other.task_id}".lstrip("/"))
    assert len(keys(one)) == 11
    assert not keys(inside) & keys(other)
    if one != other:
        assert not keys(one) & keys(other)
    assert not any(key.startswith(RETURNED_PREFIX) for key in keys(one) | keys(inside))


@pytest.mark.parametrize("name", ["result.json", "cancel.json", "progress.json", TASK_ID])
def test_a_folder_may_be_called_like_an_object_of_a_task(name: str) -> None:
    parts = TaskReference.parse({"task_id": TASK_ID, "output_prefix": f"{TASK_ID}/{name}"})
    assert not keys(parts) & keys(TaskReference(TASK_ID))


@pytest.mark.parametrize(
    "prefix",
    [
        ".returned",
        "shop/.returned",
        "/shop",
        "shop//a",
        "../shop",
        "shop/..",
        "a\\b",
        "a b",
        "a\n",
        "é",
        "a?b",
        "x" * 257,
    ],
)
def test_what_is_no_prefix_is_refused_wherever_it_is_said(prefix: str) -> None:
    reference = {"task_id": TASK_ID, "output_prefix": prefix}
    request = {"model": "m", "prompt": "p", "output_prefix": prefix}
    for parse, value in ((TaskReference.parse, reference), (TaskRequest.parse, request)):
        with pytest.raises(InvalidTask) as caught:
            parse(value)
        assert [fault.pointer for fault in caught.value.faults] == ["/output_prefix"]


@pytest.mark.parametrize(
    ("value", "pointers"),
    [
        ({}, ["/task_id"]),
        ({"task_id": ""}, ["/task_id"]),
        ({"task_id": TASK_ID.upper().replace("1", "A")}, ["/task_id"]),
        ({"task_id": TASK_ID + "\n"}, ["/task_id"]),
        ({"task_id": f"../{TASK_ID}"}, ["/task_id"]),
        ({"task_id": "x", "output_prefix": "/", "verbose": "1"}, None),
        ([TASK_ID], [""]),
    ],
)
def test_what_names_no_task_is_refused_with_every_fault(
    value: Any, pointers: list[str] | None
) -> None:
    with pytest.raises(InvalidTask) as caught:
        TaskReference.parse(value)
    expected = pointers or ["/verbose", "/task_id", "/output_prefix"]
    assert [fault.pointer for fault in caught.value.faults] == expected
