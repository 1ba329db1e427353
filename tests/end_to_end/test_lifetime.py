"""Whatever ends the service, and whenever: nothing of it is left."""

from __future__ import annotations

import json
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.running import Up, processes_of, until


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.slow
def test_a_signal_ends_every_child(start_up: Callable[..., Up]) -> None:
    up = start_up()
    assert up.details
    assert len(processes_of(up.mark)) >= 3  # The service and two agents, at least.
    check_that_it_ends(up, signal.SIGTERM)


def check_that_it_ends(up: Up, number: signal.Signals) -> None:
    port = int(up.details["aws_endpoint_url"].rpartition(":")[2])
    states = up.cache / "cdk-stable-diffusion"
    (state,) = until(lambda: list(states.glob("*.json")), "it has written its state")
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert listens(port)
    folder = up.directory
    assert folder.is_dir()

    up.process.send_signal(number)
    assert up.process.wait(20) == 0
    until(lambda: processes_of(up.mark) == {}, "every child has ended", 2)
    assert not listens(port)
    assert not state.exists()
    assert "Traceback" not in up.said()
    assert not folder.exists()


@pytest.mark.slow
def test_the_first_line_holds_what_is_documented_and_pictures_go_where_they_can(
    start_up: Callable[..., Up], tmp_path: Path
) -> None:
    up = start_up()
    assert set(up.details) == {
        "endpoint",
        "api_key",
        "aws_endpoint_url",
        "region",
        "result_queue_url",
        "result_queues",
        "output_bucket",
        "model_bucket",
        "runtimes",
    }
    url = up.details["result_queue_url"]
    assert up.details["result_queues"] == [{"url": url, "filter_policy": None}]
    port = up.details["aws_endpoint_url"].rpartition(":")[2]
    until(lambda: "Ctrl-C ends it" in up.said(), "it can be used")
    submit = [sys.executable, "-m", "cdk_stable_diffusion.local.cli", "submit", "a red circle"]
    (tmp_path / "file").write_text("")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*submit, *arguments], env=up.environment, capture_output=True, text=True, check=False
        )

    refused = run("--wait", "--output", str(tmp_path / "file" / "folder"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("sd-local: cannot make the directory")
    assert len(refused.stderr.splitlines()) == 1

    options = ("--port", port, "--set", "steps=3", "--set", "negative_prompt=blurry")
    drawn = run("--wait", "--output", str(tmp_path / "pictures"), *options)
    result = json.loads(drawn.stdout)
    assert result["parameters"]["steps"] == 3
    assert [Path(each).is_file() for each in result["files"]] == [True]
    check_that_it_ends(up, signal.SIGINT)


@pytest.mark.slow
def test_one_that_is_killed_takes_its_children_along(start_up: Callable[..., Up]) -> None:
    up = start_up()
    port = int(up.details["aws_endpoint_url"].rpartition(":")[2])
    up.process.send_signal(signal.SIGKILL)
    up.process.wait(20)
    until(lambda: processes_of(up.mark) == {}, "every child has ended")
    assert not listens(port)


@pytest.mark.parametrize("marker", ["synthesising", "deploying", "agents, logs in"])
@pytest.mark.slow
def test_a_signal_while_it_comes_up_leaves_nothing(
    start_up: Callable[..., Up], marker: str
) -> None:
    up = start_up(synthesise=marker == "synthesising")
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
