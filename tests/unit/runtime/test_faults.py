"""How constructs collect faults."""

from __future__ import annotations

import pytest
from aws_cdk import Aws

from cdk_stable_diffusion._validation import Faults, is_token


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


@pytest.mark.parametrize("value", ["eu-west-1", 5, None, 0.5, ["a"]])
def test_values_are_not_tokens(value: object) -> None:
    assert not is_token(value)
