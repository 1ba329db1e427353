"""Long polls whose connections are ours, so that they can be cut when the agent is to stop."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import select
import socket
import ssl
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSResponse
from botocore.httpsession import get_cert_path

from .task_queue import WAIT_SECONDS

_LOG = logging.getLogger(__name__)
_TIMEOUT_SECONDS = WAIT_SECONDS + 15
_STREAM_BYTES = 1 << 16


class AbortablePoll:
    """Sends an SQS client's ReceiveMessage calls over connections of its own, one a thread.

    botocore signs the call and reads the answer as always; only the sending in between is done
    here, by its documented ``before-send`` event.
    """

    def __init__(self, sqs: Any) -> None:
        """Take over a client.

        Args:
            sqs: SQS client that is used for waiting only and does not retry.
        """
        self._sqs = sqs
        self._lock = threading.Lock()
        self._connections: dict[int, http.client.HTTPConnection] = {}
        # Each is made from hundreds of certificates.
        self._tls: ssl.SSLContext | None = None
        self._aborted = False
        # Reading the settings of proxies takes longer than the rest of a call.
        self._proxies = urllib.request.getproxies()
        sqs.meta.events.register("before-send.sqs.ReceiveMessage", self._send)

    def client(self) -> Any:
        """Return the client."""
        return self._sqs

    def abort(self) -> None:
        """Say goodbye to the service; an answer that is already on its way is still read."""
        with self._lock:
            self._aborted = True
            for connection in self._connections.values():
                if connection.sock is not None:
                    # The method of the plain socket: the TLS one would also forget its keys, and
                    # with them the answer.
                    with contextlib.suppress(OSError):
                        socket.socket.shutdown(connection.sock, socket.SHUT_WR)

    def _send(self, request: Any, **_: Any) -> Any:
        url = urlsplit(request.url)
        if url.scheme in self._proxies and not urllib.request.proxy_bypass(url.netloc):
            # Then botocore sends it, and a stop waits for the poll's end.
            return None
        connection = self._connected(url.scheme, url.netloc)
        try:
            if connection.sock is None:
                connection.connect()
            if self._aborted:
                # Meanwhile, when there was no socket yet to say goodbye on.
                raise ConnectionAbortedError("the agent is stopping")
            path = f"{url.path or '/'}{f'?{url.query}' if url.query else ''}"
            connection.request(request.method, path, body=request.body, headers=request.headers)
            answer = connection.getresponse()
            body = answer.read()
        except BaseException:
            self._disconnect()
            raise
        if answer.will_close:
            self._disconnect()
        headers: Any = dict(answer.getheaders())
        return AWSResponse(request.url, answer.status, headers, _Body(body))

    def _connected(self, scheme: str, host: str) -> http.client.HTTPConnection:
        with self._lock:
            if self._aborted:
                raise ConnectionAbortedError("the agent is stopping")
            connection = self._connections.get(threading.get_ident())
            if connection is not None and _dropped(connection.sock):
                connection.close()
                connection = None
            if connection is None:
                connection = (
                    http.client.HTTPSConnection(
                        host, timeout=_TIMEOUT_SECONDS, context=self._tls_context()
                    )
                    if scheme == "https"
                    else http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
                )
                self._connections[threading.get_ident()] = connection
            return connection

    def _disconnect(self) -> None:
        with self._lock:
            connection = self._connections.pop(threading.get_ident(), None)
            if connection is not None:
                connection.close()

    def _tls_context(self) -> ssl.SSLContext:
        if self._tls is None:
            own = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
            self._tls = ssl.create_default_context(cafile=own or get_cert_path(True))
        return self._tls


class _Body:
    """An answer's body, as botocore reads it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, **_: Any) -> Iterator[bytes]:
        for start in range(0, len(self._data), _STREAM_BYTES):
            yield self._data[start : start + _STREAM_BYTES]


def _dropped(sock: socket.socket | None) -> bool:
    """Tell whether the service closed a connection while a task kept the agent from polling.

    Nothing has been asked, so what there is to read is its end. (After a late TLS ticket it is
    not; then a new connection does no harm.)
    """
    if sock is None:
        return False
    poller = select.poll()
    poller.register(sock, select.POLLIN)
    return bool(poller.poll(0))
