"""A long poll whose connection is ours, so that it can be cut when the agent is to stop."""

from __future__ import annotations

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
    """Sends an SQS client's ReceiveMessage calls over a connection of its own.

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
        self._connection: http.client.HTTPConnection | None = None
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
            sock = self._connection.sock if self._connection else None
            if sock is not None:
                try:
                    # The method of the plain socket: the TLS one would also forget its keys, and
                    # with them the answer.
                    socket.socket.shutdown(sock, socket.SHUT_WR)
                except OSError:
                    return

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
            if self._connection is not None and _dropped(self._connection.sock):
                self._connection.close()
                self._connection = None
            if self._connection is None:
                self._connection = (
                    http.client.HTTPSConnection(
                        host, timeout=_TIMEOUT_SECONDS, context=_tls_context()
                    )
                    if scheme == "https"
                    else http.client.HTTPConnection(host, timeout=_TIMEOUT_SECONDS)
                )
            return self._connection

    def _disconnect(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


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


def _tls_context() -> ssl.SSLContext:
    own = os.environ.get("AWS_CA_BUNDLE") or os.environ.get("REQUESTS_CA_BUNDLE")
    return ssl.create_default_context(cafile=own or get_cert_path(True))
