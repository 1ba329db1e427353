"""Fixtures of the handler's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.handler.fakes import Service, served


@pytest.fixture
def service() -> Iterator[Service]:
    """The function with stand-ins behind it."""
    with served() as service:
        yield service
