"""Whatever ends the service, and whenever: nothing of it is left."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.end_to_end.running import Up, processes_of, until


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_every_child(start_up: Callable[[], Up], number: signal.Signals) -> None:
    up = start_up()
    port = int(up.details["aws_endpoint_url"].rpartition(":")[2])
    state = up.cache / "cdk-stable-diffusion" / "local-service.json"
    until(state.exists, "it has written its state")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert listens(port)
    assert len(processes_of(up.mark)) >= 3  # The service and two agents, at least.

    up.process.send_signal(number)
    assert up.process.wait(20) == 0
    until(lambda: processes_of(up.mark) == {}, "every child has ended", 2)
    assert not listens(port)
    assert not state.exists()
    assert "Traceback" not in up.said()


def test_one_that_is_killed_takes_its_children_along(start_up: Callable[[], Up]) -> None:
    up = start_up()
    port = int(up.details["aws_endpoint_url"].rpartition(":")[2])
    up.process.send_signal(signal.SIGKILL)
    up.process.wait(20)
    until(lambda: processes_of(up.mark) == {}, "every child has ended")
    assert not listens(port)


@pytest.mark.parametrize("marker", ["synthesising", "deploying", "agents, logs in"])
def test_a_signal_while_it_comes_up_leaves_nothing(start_up: Callable[[], Up], marker: str) -> None:
    up = start_up()
    until(lambda: marker in up.said(), f"it says {marker!r}")
    up.process.send_signal(signal.SIGTERM)
    started = time.monotonic()
    try:
        up.process.wait(20)
    except subprocess.TimeoutExpired:
        pytest.fail("it did not end")
    assert time.monotonic() - started < 10
    until(lambda: processes_of(up.mark) == {}, "every child has ended")
    assert "Traceback" not in up.said()
