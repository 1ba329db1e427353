"""How constructs collect faults."""

from __future__ import annotations

import math

import pytest
from aws_cdk import App, Aws, Duration, Stack, Token

from cdk_stable_diffusion._validation import Faults, is_token, shown


def test_nothing_is_raised_without_faults() -> None:
    faults = Faults()
    faults.check(True, "never said")
    faults.raise_if_any("SdThing")
    assert faults.messages == ()


def test_all_faults_are_in_one_error_in_order() -> None:
    faults = Faults()
    faults.check(False, "first is 0: at least 1")
    faults.check(True, "fine")
    faults.check(False, "second is 9: at most 5")
    with pytest.raises(ValueError) as error:
        faults.raise_if_any("SdThing App/It")
    assert str(error.value) == "SdThing App/It: first is 0: at least 1; second is 9: at most 5"


def test_tokens_are_known() -> None:
    for value in (Aws.REGION, f"prefix-{Aws.REGION}"):
        assert is_token(value)


@pytest.mark.parametrize(
    "value",
    ["eu-west-1", 5, None, 0.5, math.nan, -math.inf, ["a"], Faults(), Stack, Stack(App(), "S")],
)
def test_values_are_not_tokens(value: object) -> None:
    assert not is_token(value)


def test_an_object_can_be_a_token() -> None:
    assert is_token(Token.as_any({"Ref": "Count"}))


@pytest.mark.parametrize(
    ("value", "kind", "says"),
    [
        ("3", int, "size is '3': a hint"),
        (True, int, "size is True: a hint"),
        (True, (int, float), "size is True: a hint"),
        (2.0, int, "size is 2.0: a hint"),
        (None, int, "size is None: a hint"),
        (1, bool, "size is 1: a hint"),
        pytest.param(
            Token.as_number({"Ref": "Size"}),
            int,
            "size is a token: it must be known at synthesis",
            id="token",
        ),
    ],
)
def test_wrong_types_are_faults(value: object, kind: type | tuple[type, ...], says: str) -> None:
    faults = Faults()
    assert not faults.check_type("size", value, kind, "a hint")
    assert faults.messages == (says,)


@pytest.mark.parametrize(
    ("value", "kind"), [(3, int), (3, (int, float)), (0.5, (int, float)), (True, bool), ("a", str)]
)
def test_right_types_are_none(value: object, kind: type | tuple[type, ...]) -> None:
    faults = Faults()
    assert faults.check_type("size", value, kind, "a hint")
    assert faults.messages == ()


def test_nothing_more_is_checked_of_what_is_not_given_or_not_known() -> None:
    faults = Faults()
    number = Token.as_number({"Ref": "Size"})
    assert not faults.check_type("size", None, int, "a hint", optional=True)
    assert not faults.check_type("size", number, int, "a hint", tokens=True)
    assert not faults.check_has("size", None, "real", "a hint", optional=True)
    assert faults.messages == ()


def test_what_lacks_an_attribute_is_a_fault() -> None:
    faults = Faults()
    assert faults.check_has("fine", 5, "real", "a number")
    assert not faults.check_has("size", "5", "real", "a number")
    assert faults.messages == ("size is '5': a number",)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "'a'"),
        (Duration, "the class Duration"),
        (lambda: None, "the function <lambda>"),
        (Faults().check, "the function Faults.check"),
        (print, "the function print"),
        (Duration.seconds(5), "a value of type Duration"),
        ("x" * 200, f"'{'x' * 76}..."),
    ],
)
def test_values_are_shown_short_and_the_same_in_every_run(value: object, text: str) -> None:
    assert shown(value) == text


def test_constructs_are_shown_by_their_paths() -> None:
    assert shown(Stack(App(), "Service")) == "the Stack 'Service'"
