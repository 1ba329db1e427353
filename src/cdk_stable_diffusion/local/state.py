"""Where the running services are, for clients on the same machine."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .errors import LocalError

_FILES = "local-service-*.json"


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
    # With the process in its name, nobody who finds it dead can remove a successor's file.
    name = f"local-service-{_port(details)}-{os.getpid()}.json"
    file = cache_directory() / name
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = file.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, stat.S_IRUSR | stat.S_IWUSR)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        json.dump({**details, "process_id": os.getpid()}, stream)
    new.replace(file)
    return file


def read_state(port: int | None = None) -> dict[str, Any]:
    """Return the details of a running service.

    Args:
        port: The service's port. Default: that of the one that was started last.

    Raises:
        LocalError: If there is none.
    """
    services = _running()
    for each in services:
        if port is None or _port(each) == port:
            return each
    if not services:
        raise LocalError("no service runs on this machine: start one with 'sd-local up'")
    ports = ", ".join(str(_port(each)) for each in services)
    raise LocalError(f"no service runs on port {port}, only on {ports}")


def remove_state() -> None:
    """Forget this process's service; those of other processes stay."""
    for file in cache_directory().glob(_FILES):
        details = _read(file)
        if details is not None and details["process_id"] == os.getpid():
            file.unlink(missing_ok=True)


def _running() -> list[dict[str, Any]]:
    """Return the running services, the newest first, and drop the files of all others."""
    running = []
    for file in cache_directory().glob(_FILES):
        details = _read(file)
        if details is None or not _is_alive(details["process_id"]):
            with suppress(OSError):
                file.unlink()
            continue
        try:
            running.append((file.stat().st_mtime_ns, file.name, details))
        except FileNotFoundError:
            continue  # It has just ended.
    return [details for _time, _name, details in sorted(running, key=lambda each: each[:2])[::-1]]


def _port(details: Mapping[str, Any]) -> int:
    return int(urlsplit(details["aws_endpoint_url"]).port or 0)


def _read(file: Path) -> dict[str, Any] | None:
    try:
        details = json.loads(file.read_text("utf-8"))
        _port(details)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return details if isinstance(details.get("process_id"), int) else None


def _is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
