"""An emulated AWS for the agent's tests, and a stand-in for the engine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.scene import Aws, Scene

_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """Start an emulated AWS of this test process's own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ,
        **_CREDENTIALS,
        "BIND_HOST": "127.0.0.1",
        "IOT_MTLS_ENABLED": "0",
        "GATEWAY_PORT": str(port),
    }
    emulator = subprocess.Popen(
        [str(Path(sys.executable).parent / "ministack")],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the emulator does not come up"
                time.sleep(0.05)
        yield Aws(environment={**_CREDENTIALS, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"})
    finally:
        # It has nothing to save.
        emulator.kill()
        emulator.wait()


@pytest.fixture
def scene(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Make queues, topic and buckets of this test's own."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return Scene(aws, tmp_path)
