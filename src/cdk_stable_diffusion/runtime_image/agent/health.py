"""Probes over HTTP: ``/livez`` and ``/readyz``."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Probe = Callable[[], bool]


class HealthServer:
    """Answers the probes of Kubernetes; also while a GPU is busy or hangs."""

    def __init__(self, *, port: int, alive: Probe, ready: Probe) -> None:
        """Bind, without answering yet.

        Args:
            port: Port on all addresses.
            alive: Whether the agent's loops run.
            ready: Whether a task that came now would begin at once.
        """
        probes = {"/livez": alive, "/readyz": ready}

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                probe = probes.get(self.path)
                status = 404 if probe is None else 200 if probe() else 503
                text = {200: b"ok\n", 404: b"not found\n", 503: b"no\n"}[status]
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *arguments: object) -> None:
                """Write nothing: probes come every few seconds."""

        self._server = ThreadingHTTPServer(("", port), Handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
