"""Trace context, near names and what is remembered about models."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract.fields import Text
from cdk_stable_diffusion.contract.message import TRACEPARENT_FIELD
from cdk_stable_diffusion.handler.catalogue import (
    KNOWN_SECONDS,
    MAX_REMEMBERED,
    UNKNOWN_SECONDS,
    CatalogueUnavailable,
    RememberingCatalogue,
    near_names,
)
from cdk_stable_diffusion.handler.trace import traceparent
from tests.handler.fakes import FakeCatalogue

TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01"),
        (f"  00-{TRACE}-{SPAN}-00 ", f"00-{TRACE}-{SPAN}-00"),
        (f"cc-{TRACE}-{SPAN}-01-more", f"00-{TRACE}-{SPAN}-01"),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        ("", None),
    ],
)
def test_traceparent_header(header: str, expected: str | None) -> None:
    assert traceparent(header, "") == expected


@pytest.mark.parametrize(
    ("amazon", "expected"),
    [
        (
            f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN};Sampled=0",
            f"00-{TRACE}-{SPAN}-00",
        ),
        (
            f"Root=1-{TRACE[:8]}-{TRACE[8:]}; Parent={SPAN}; Sampled=1; Lineage=1:2",
            f"00-{TRACE}-{SPAN}-01",
        ),
        (f"Root=1-{TRACE[:8]}-{TRACE[8:]}", None),
        (f"Root=2-{TRACE[:8]}-{TRACE[8:]};Parent={SPAN}", None),
        (f"Root=1-{'0' * 8}-{'0' * 24};Parent={SPAN}", None),
        ("Root", None),
        ("", None),
    ],
)
def test_trace_of_lambda(amazon: str, expected: str | None) -> None:
    assert traceparent("", amazon) == expected


@given(st.text(), st.text())
def test_whatever_comes_is_a_traceparent_or_nothing(header: str, amazon: str) -> None:
    found = traceparent(header, amazon)
    assert isinstance(TRACEPARENT_FIELD, Text)
    assert found is None or TRACEPARENT_FIELD.faults(found) == []


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_known_model_is_remembered_for_minutes_and_an_unknown_one_for_seconds() -> None:
    clock = Clock()
    fake = FakeCatalogue(models=["here"])
    catalogue = RememberingCatalogue(fake, clock)
    assert catalogue.has("here")
    assert not catalogue.has("new")

    fake.models = ["new"]
    clock.now = UNKNOWN_SECONDS - 0.1
    assert not catalogue.has("new")
    clock.now = UNKNOWN_SECONDS
    assert catalogue.has("new")
    clock.now = KNOWN_SECONDS - 0.1
    assert catalogue.has("here")
    clock.now = KNOWN_SECONDS
    assert not catalogue.has("here")


def test_a_failure_is_not_remembered() -> None:
    fake = FakeCatalogue(models=["here"], down=True)
    catalogue = RememberingCatalogue(fake, Clock())
    with pytest.raises(CatalogueUnavailable):
        catalogue.has("here")
    fake.down = False
    assert catalogue.has("here")


def test_memory_does_not_grow_without_end() -> None:
    fake = FakeCatalogue(models=[])
    catalogue = RememberingCatalogue(fake, Clock())
    for number in range(3 * MAX_REMEMBERED):
        catalogue.has(f"m{number}")
    assert len(catalogue._answers) <= MAX_REMEMBERED


def test_near_names_are_the_nearest_first_and_few() -> None:
    names = ["sdxl-base-1.0", "sdxl-turbo", "flux-dev", *(f"shape-{i}" for i in range(20))]
    assert near_names("sdxl-base-1.1", names)[0] == "sdxl-base-1.0"
    assert near_names("SDXL-Turbo", names)[0] == "sdxl-turbo"
    assert len(near_names("shape-x", names)) <= 5
    assert near_names("zzz", names) == []
