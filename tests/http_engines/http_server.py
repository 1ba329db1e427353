"""A server of HTTP and WebSockets on one port, as both engines' servers are."""

from __future__ import annotations

import base64
import hashlib
import json
import queue
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

_CLOSE = 0x88
_WEBSOCKET_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Answer(Exception):
    """What a route answers instead of a JSON document with status 200."""

    def __init__(self, status: int, body: Any, content_type: str = "application/json") -> None:
        super().__init__(status)
        self.status = status
        self.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.content_type = content_type


class WebSocket:
    """The server's side of a WebSocket; sends alone."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, data: str | bytes) -> None:
        """Send a text, or bytes."""
        payload = data.encode() if isinstance(data, str) else data
        opcode = 0x81 if isinstance(data, str) else 0x82
        if len(payload) < 126:
            head = struct.pack(">BB", opcode, len(payload))
        elif len(payload) < 2**16:
            head = struct.pack(">BBH", opcode, 126, len(payload))
        else:
            head = struct.pack(">BBQ", opcode, 127, len(payload))
        with self._lock:
            self._connection.sendall(head + payload)

    def drop(self) -> None:
        """Break the connection."""
        try:
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


class Server:
    """Routes are methods ``get_...`` and ``post_...`` with the parts of the path as arguments."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, Any]] = []
        self.silent = threading.Event()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen, on the port of before if there was one."""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                outer._connections.add(self.connection)

            def finish(self) -> None:
                outer._connections.discard(self.connection)
                try:
                    super().finish()
                except OSError:
                    pass

            def do_GET(self) -> None:
                self._serve("get")

            def do_POST(self) -> None:
                self._serve("post")

            def _serve(self, method: str) -> None:
                data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                if self.headers.get("Upgrade", "").lower() == "websocket":
                    self._upgrade(query)
                    return
                if outer.silent.is_set():
                    outer.silent_forever.wait(30)
                kind = self.headers.get("Content-Type", "")
                body: Any = data
                if kind.startswith("application/json"):
                    body = json.loads(data)
                elif kind.startswith("multipart/form-data"):
                    body = _form(kind, data)
                outer.requests.append((method.upper(), parts.path, body))
                try:
                    answer = Answer(200, outer.route(method, parts.path, query, body))
                except Answer as other:
                    answer = other
                try:
                    self.send_response(answer.status)
                    self.send_header("Content-Type", answer.content_type)
                    self.send_header("Content-Length", str(len(answer.data)))
                    self.end_headers()
                    self.wfile.write(answer.data)
                except OSError:
                    self.close_connection = True

            def _upgrade(self, query: dict[str, str]) -> None:
                key = self.headers["Sec-WebSocket-Key"].encode()
                accept = base64.b64encode(hashlib.sha1(key + _WEBSOCKET_GUID).digest()).decode()
                self.send_response(101)
                self.send_header("Upgrade", "websocket")
                self.send_header("Connection", "Upgrade")
                self.send_header("Sec-WebSocket-Accept", accept)
                self.end_headers()
                self.wfile.flush()
                outer.serve_websocket(WebSocket(self.connection), query)
                try:
                    while (data := self.connection.recv(4096)) and data[0] != _CLOSE:
                        pass
                    self.connection.sendall(b"\x88\0")
                except OSError:
                    pass
                self.close_connection = True

            def log_message(self, *arguments: object) -> None:
                """Write nothing."""

        class _Server(ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *arguments: object) -> None:
                """A connection that is broken off is no error here."""

        self.silent_forever = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """End at once, as a killed process does."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        self.silent_forever.set()
        for connection in tuple(self._connections):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._server = None

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def route(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Answer a request; overridden."""
        raise Answer(404, {"detail": "Not Found"})

    def serve_websocket(self, socket: WebSocket, query: dict[str, str]) -> None:
        """Begin to serve a WebSocket; overridden."""


def _form(kind: str, data: bytes) -> dict[str, Any]:
    """Read a form: texts, and files as their name and bytes."""
    boundary = b"--" + kind.partition("boundary=")[2].encode()
    found: dict[str, Any] = {}
    for part in data.split(boundary)[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        text = head.decode()
        name = text.partition('name="')[2].partition('"')[0]
        content = content.removesuffix(b"\r\n")
        if 'filename="' in text:
            found[name] = (text.partition('filename="')[2].partition('"')[0], content)
        else:
            found[name] = content.decode()
    return found


Queue = queue.SimpleQueue
