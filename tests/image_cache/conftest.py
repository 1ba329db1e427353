"""One emulated account for all tests here; each starts with nothing in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.image_cache.world import World, emulated


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with (
        pytest.MonkeyPatch.context() as patch,
        emulated(tmp_path_factory.mktemp("host"), patch) as it,
    ):
        yield it


@pytest.fixture
def world(account: World) -> Iterator[World]:
    account.forget()
    yield account
    account.host.hangs = False
