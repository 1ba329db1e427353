"""Fetching a picture over HTTPS from a host that may be asked, at an address that was checked."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from .addresses import is_public
from .network import Network
from .policy import InputPolicy
from .refusal import InputRefused, InputUnavailable
from .url import HttpsUrl, parse_https_url

_PIECE_BYTES = 64 * 1024
_MOST_ADDRESSES = 3
_OK = 200
_REDIRECTS = range(300, 400)
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
_FIRST_SERVER_FAULT = 500
_HEADERS = {
    "Accept": "image/png, image/jpeg, image/webp",
    # A compressed answer could grow beyond every limit.
    "Accept-Encoding": "identity",
    "User-Agent": "cdk-stable-diffusion",
    "Connection": "close",
}


def fetch(text: str, *, policy: InputPolicy, network: Network) -> bytes:
    """Fetch a file.

    The host is looked up once. Every address of the answer must be public, and the connection goes
    to one of those very addresses, so that a second answer of the name server changes nothing. No
    redirect is followed.

    Args:
        text: The URL.
        policy: What is allowed.
        network: The way out.

    Raises:
        InputRefused: If it must not be fetched, or is not what it should be.
        InputUnavailable: If it could not be fetched now.
    """
    url = parse_https_url(text)
    if url.host not in policy.hosts:
        raise InputRefused("is on a host that input images may not come from")
    deadline = time.monotonic() + policy.seconds
    addresses = _addresses(url.host, network, deadline)
    if not addresses:
        raise InputUnavailable("has a host without any address")
    if not all(map(is_public, addresses)):
        raise InputRefused("has a host with an address that is not public")
    connection = _connect(addresses[:_MOST_ADDRESSES], network, deadline)
    # TLS takes the socket over; this one is the same connection by another descriptor.
    handle = connection.dup()
    # A timeout of the socket's begins anew with every byte; this one does not.
    watchdog = threading.Timer(max(0.0, deadline - time.monotonic()), _shut, (handle,))
    watchdog.daemon = True
    watchdog.start()
    try:
        with handle, connection:
            data = _exchange(connection, url, policy, network)
        if time.monotonic() < deadline:
            return data
        raise _too_slow(policy)
    except ssl.SSLCertVerificationError:
        raise InputRefused("has a host whose certificate is not valid for it") from None
    except (OSError, http.client.HTTPException) as error:
        if time.monotonic() >= deadline:
            raise _too_slow(policy) from None
        raise InputUnavailable(f"could not be fetched: {type(error).__name__}") from None
    finally:
        watchdog.cancel()


def _addresses(host: str, network: Network, deadline: float) -> Sequence[str]:
    """Look a host up, without waiting longer than there is time."""
    answers: list[Sequence[str]] = []

    def look_up() -> None:
        with suppress(OSError, UnicodeError):
            answers.append(network.resolve(host))

    # The system's resolver cannot be interrupted, but it can be left alone.
    thread = threading.Thread(target=look_up, name="resolver", daemon=True)
    thread.start()
    thread.join(max(0.0, deadline - time.monotonic()))
    if not answers:
        raise InputUnavailable("has a host whose name could not be looked up")
    return answers[0]


def _connect(addresses: Sequence[str], network: Network, deadline: float) -> socket.socket:
    for index, address in enumerate(addresses):
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            break
        # An address that nobody answers at leaves time for the others.
        with suppress(OSError):
            connection = network.connect(address, remaining / (len(addresses) - index))
            connection.settimeout(remaining)
            return connection
    raise InputUnavailable("has a host that could not be connected to")


def _exchange(
    connection: socket.socket, url: HttpsUrl, policy: InputPolicy, network: Network
) -> bytes:
    with network.tls.wrap_socket(
        connection, server_hostname=url.host, suppress_ragged_eofs=False
    ) as secured:
        client = http.client.HTTPConnection(url.host)
        # Its own connecting would look the name up again.
        client.sock = secured
        client.auto_open = 0
        client.putrequest("GET", url.target, skip_host=True, skip_accept_encoding=True)
        client.putheader("Host", url.host)
        for name, value in _HEADERS.items():
            client.putheader(name, value)
        client.endheaders()
        with client.getresponse() as response:
            _check(response, policy)
            data = bytearray()
            while piece := response.read(min(_PIECE_BYTES, policy.max_bytes + 1 - len(data))):
                data += piece
                if len(data) > policy.max_bytes:
                    raise _too_large(policy)
            # What ends before its announced length reads like what ends as it should.
            if response.length:
                raise http.client.IncompleteRead(b"")
            return bytes(data)


def _check(response: http.client.HTTPResponse, policy: InputPolicy) -> None:
    status = response.status
    if status in _REDIRECTS:
        raise InputRefused("is answered with a redirect, which is not followed")
    if status >= _FIRST_SERVER_FAULT or status in _WORTH_ANOTHER_TRY:
        raise InputUnavailable(f"is answered with status {status}")
    if status != _OK:
        raise InputRefused(f"is answered with status {status}")
    if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        raise InputRefused("is answered with a compressed body, which was not asked for")
    if response.length is not None and response.length > policy.max_bytes:
        raise _too_large(policy)


def _too_large(policy: InputPolicy) -> InputRefused:
    return InputRefused(f"must have at most {policy.max_bytes} bytes")


def _too_slow(policy: InputPolicy) -> InputUnavailable:
    return InputUnavailable(f"took longer than {policy.seconds:g} s to fetch")


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
