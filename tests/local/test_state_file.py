"""The file by which clients find the running service."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cdk_stable_diffusion.local.errors import LocalError
from cdk_stable_diffusion.local.state import read_state, remove_state, write_state

AT_1 = {"aws_endpoint_url": "http://127.0.0.1:1"}
AT_2 = {"aws_endpoint_url": "http://127.0.0.1:2"}


def another(details: dict[str, str]) -> Path:
    """Write the file of a living process that is not this one."""
    file = write_state(details)
    other = file.with_name(file.name.replace(str(os.getpid()), str(os.getppid())))
    other.write_text(json.dumps({**details, "process_id": os.getppid()}))
    file.unlink()
    return other


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_what_is_written_is_read() -> None:
    write_state({**AT_1, "endpoint": "http://127.0.0.1:1"})
    assert read_state()["endpoint"] == "http://127.0.0.1:1"


def test_only_the_owner_may_read_the_api_key() -> None:
    old_mask = os.umask(0)
    try:
        file = write_state({**AT_1, "api_key": "secret"})
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_service_one_is_told_how_to_start_it() -> None:
    with pytest.raises(LocalError, match="sd-local up"):
        read_state()


def test_a_service_that_has_ended_does_not_count_and_is_dropped() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    file = write_state(AT_1)
    file.write_text(json.dumps({**AT_1, "process_id": int(ended.stdout)}))
    with pytest.raises(LocalError, match="no service runs"):
        read_state()
    assert not file.exists()


def test_the_end_of_one_service_leaves_the_state_of_another() -> None:
    other = another(AT_1)
    file = write_state(AT_2)
    remove_state()
    assert other.exists()
    assert not file.exists()


def test_the_newest_service_is_taken_unless_a_port_is_named() -> None:
    other, own = another(AT_1), write_state(AT_2)
    os.utime(other, ns=(1, 1))
    os.utime(own, ns=(2, 2))
    assert read_state()["aws_endpoint_url"] == AT_2["aws_endpoint_url"]
    os.utime(other, ns=(3, 3))
    assert read_state()["aws_endpoint_url"] == AT_1["aws_endpoint_url"]
    assert read_state(2)["aws_endpoint_url"] == AT_2["aws_endpoint_url"]
    assert read_state(1)["aws_endpoint_url"] == AT_1["aws_endpoint_url"]
    with pytest.raises(LocalError, match="no service runs on port 3, only on 1, 2"):
        read_state(3)


def test_a_broken_file_does_not_count() -> None:
    for broken in ("{", "[]", "{}", json.dumps({"process_id": 1}), json.dumps(AT_1)):
        write_state(AT_1).write_text(broken)
        with pytest.raises(LocalError, match="no service runs"):
            read_state()
