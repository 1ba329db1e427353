"""The traps of Python's JSON reader, each of them one ValueError."""

from __future__ import annotations

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract import strict_json
from tests.contract import strategies as made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ('{"a": 1} x', "is not JSON: Extra data at line 1, column 10"),
        ("NaN", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("1e999", "out of range"),
        ("9" * 5_000, "more than 400 digits"),
        ('{"a": 1, "a": 2}', "names 'a' twice"),
        ('{"b": [{"a": 1, "a": 1}]}', "names 'a' twice"),
        ('"\\ud800"', "lone surrogate"),
        ('{"\\udc00": 1}', "lone surrogate"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("[" * 50_000 + "]" * 50_000, "nested too deeply"),
    ],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        strict_json.loads(text)


def test_how_deep_does_not_depend_on_the_process() -> None:
    deep = [f"{'[' * 501}{']' * 501}", '{"a":' * 501 + "1" + "}" * 501]
    fine = [f"{'[' * 500}{']' * 500}", '["[[{{\\"]"' + ',"[{"' * 1_000 + "]"]
    limit = sys.getrecursionlimit()
    for limited in (limit, 20 * limit):
        sys.setrecursionlimit(limited)
        try:
            for text in deep:
                with pytest.raises(ValueError, match="nested too deeply"):
                    strict_json.loads(text)
            assert [strict_json.loads(text) for text in fine]
        finally:
            sys.setrecursionlimit(limit)


@given(st.text())
def test_nothing_but_a_value_error_is_raised(text: str) -> None:
    try:
        strict_json.loads(text)
    except ValueError as error:
        assert str(error)


@given(made.json_values)
def test_values_come_back(value: object) -> None:
    assert strict_json.loads(strict_json.dumps(value)) == value


def test_a_pair_of_surrogates_is_a_character() -> None:
    assert strict_json.loads('"\\ud83c\\udfa8"') == "🎨"


@given(st.text(made.characters))
def test_only_characters_that_sqs_takes_are_written(text: str) -> None:
    written = strict_json.dumps({text: [text]})
    assert json.loads(written) == {text: [text]}
    for character in written:
        # The characters of XML 1.0, of which SQS messages are made.
        assert character in "\t\n\r" or " " <= character <= "\ufffd" or character > "\uffff"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_what_json_does_not_have_is_not_written(value: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        strict_json.dumps(value)
