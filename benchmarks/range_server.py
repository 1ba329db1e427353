"""Serves buckets from a folder as S3 does, as fast as this machine can or as a network would.

    python -m benchmarks.range_server FOLDER [--gigabits 5]

It is localbucket (PyPI), and prints its port. With a limit, all connections together get no more
than the network of a node has; one alone gets 90 MB/s and its first byte after 50 ms. AWS says that
one request for each 85 to 90 MB/s of the throughput that one wants is about right.
"""

from __future__ import annotations

import argparse
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from localbucket import S3Handler, object_etag

CONNECTION_BYTES_PER_SECOND = 90e6
FIRST_BYTE_SECONDS = 0.05


class _Rate:
    """Lets through so many bytes a second."""

    def __init__(self, bytes_per_second: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = 0.0

    def reserve(self, size: int) -> float:
        """Return when so many bytes have passed."""
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic()) + size / self._bytes_per_second
            return self._free_at


class _Limited:
    """A connection of which each piece takes as long as the network needs for it."""

    def __init__(self, connection: Any, *rates: _Rate) -> None:
        self._connection = connection
        self._rates = rates

    def write(self, data: bytes) -> int:
        passed_at = max(rate.reserve(len(data)) for rate in self._rates)
        time.sleep(max(0.0, passed_at - time.monotonic()))
        written: int = self._connection.write(data)
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class _Handler(S3Handler):  # type: ignore[misc]
    disable_nagle_algorithm = True
    network: _Rate | None = None

    def setup(self) -> None:
        super().setup()
        if self.network is not None:
            self.wfile: Any = _Limited(self.wfile, self.network, _Rate(CONNECTION_BYTES_PER_SECOND))

    def do_GET(self) -> None:
        if self.network is not None:
            time.sleep(FIRST_BYTE_SECONDS)
        super().do_GET()


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabits", type=float, default=0.0, help="a second; 0 for no limit")
    arguments = parser.parse_args()
    _Handler.data_root = arguments.folder.resolve()
    if arguments.gigabits:
        _Handler.network = _Rate(arguments.gigabits * 1e9 / 8)
    # Else each of the first connections would do it.
    for path in arguments.folder.resolve().rglob("*"):
        if path.is_file():
            object_etag(path)
    with _Server(("127.0.0.1", 0), _Handler) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
