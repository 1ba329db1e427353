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


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def test_what_is_written_is_read() -> None:
    write_state({"endpoint": "http://127.0.0.1:1"})
    assert read_state()["endpoint"] == "http://127.0.0.1:1"


def test_only_the_owner_may_read_the_api_key() -> None:
    old_mask = os.umask(0)
    try:
        file = write_state({"api_key": "secret"})
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_service_one_is_told_how_to_start_it() -> None:
    with pytest.raises(LocalError, match="sd-local up"):
        read_state()


def test_a_service_that_has_ended_does_not_count() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    )
    file = write_state({})
    file.write_text(json.dumps({"process_id": int(ended.stdout)}))
    with pytest.raises(LocalError, match="no service runs"):
        read_state()


def test_the_end_of_one_service_leaves_the_state_of_another() -> None:
    file = write_state({})
    file.write_text(json.dumps({"process_id": os.getppid()}))
    remove_state()
    assert file.exists()
    write_state({})
    remove_state()
    assert not file.exists()


def test_a_broken_file_does_not_count() -> None:
    write_state({}).write_text("{")
    with pytest.raises(LocalError, match="no service runs"):
        read_state()
