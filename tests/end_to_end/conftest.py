"""The whole service, up for tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.running import LEASE_SECONDS, Service, Up, end

SYNTHESISED_BEFORE = Path(__file__).with_name("synthesised_before.py")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The quickstart, up for all tests; agents give up a task sooner than on AWS."""
    folder = tmp_path_factory.mktemp("service")
    arguments = ["--port", "0", "--workers", "2", "--set", f"SD_LEASE_SECONDS={LEASE_SECONDS}"]
    with (folder / "errors").open("wb") as errors:
        up = Up(arguments, folder, errors)
        try:
            yield Service(up)
        finally:
            end(up)


@pytest.fixture
def start_up(tmp_path: Path, service: Service) -> Iterator[Callable[..., Up]]:
    """Start services of a test's own, which are ended with it.

    They deploy what was synthesised for `service`, unless they are told to synthesise.
    """
    with (tmp_path / "errors").open("wb") as errors:
        started: list[Up] = []

        def start(*, synthesise: bool = False) -> Up:
            app = [] if synthesise else ["--app", str(SYNTHESISED_BEFORE)]
            assembly = {"ASSEMBLY": str(service.directory / "cdk.out")}
            started.append(Up(["--port", "0", *app], tmp_path, errors, assembly))
            return started[-1]

        yield start
        for up in started:
            end(up)
