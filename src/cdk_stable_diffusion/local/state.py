"""Where the running service is, for clients on the same machine."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import LocalError

_FILE = "local-service.json"


def cache_directory() -> Path:
    """Return the directory for this package's files, by the XDG rules."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "cdk-stable-diffusion"


def write_state(details: Mapping[str, Any]) -> Path:
    """Note that this process serves.

    The file holds the API key, so only its owner may read it.

    Args:
        details: What clients must know.

    Returns:
        The file.
    """
    file = cache_directory() / _FILE
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({**details, "process_id": os.getpid()}, stream)
    new.replace(file)
    return file


def read_state() -> dict[str, Any]:
    """Return the details of the running service.

    Raises:
        LocalError: If none runs.
    """
    details = _read()
    if details is None or not _is_alive(details["process_id"]):
        raise LocalError("no service runs on this machine: start one with 'sd-local up'")
    return details


def remove_state() -> None:
    """Forget this process's service; one of another process stays."""
    details = _read()
    if details is not None and details["process_id"] == os.getpid():
        (cache_directory() / _FILE).unlink(missing_ok=True)


def _read() -> dict[str, Any] | None:
    try:
        details = json.loads((cache_directory() / _FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return details if isinstance(details, dict) and "process_id" in details else None


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
