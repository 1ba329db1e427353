"""The agent's way into the network: names, connections, TLS."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

HTTPS_PORT = 443

Resolve = Callable[[str], Sequence[str]]
Connect = Callable[[str, float], socket.socket]


def resolve(host: str) -> list[str]:
    """Return every address of a host, in the resolver's order.

    Args:
        host: Its full name. It is looked up as such: the search list that a pod has for the names
            of its cluster is not gone through first.

    Raises:
        OSError: If it has none, or that cannot be said now.
    """
    answers = socket.getaddrinfo(f"{host}.", HTTPS_PORT, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def connect(address: str, timeout: float) -> socket.socket:
    """Connect to port 443 of an address.

    Args:
        address: The address itself, so that nothing is looked up again.
        timeout: Most seconds to wait.

    Raises:
        OSError: If that is impossible.
    """
    return socket.create_connection((address, HTTPS_PORT), timeout)


def tls() -> ssl.SSLContext:
    """Return the terms of TLS: the system's authorities, host names checked, TLS 1.2 or later."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


@dataclass(frozen=True, kw_only=True, slots=True)
class Network:
    """What fetching needs of the network. No proxy is looked for anywhere.

    Attributes:
        resolve: Gives every address of a host.
        connect: Connects to an address, within some seconds.
        tls: The terms of TLS.
    """

    resolve: Resolve = resolve
    connect: Connect = connect
    tls: ssl.SSLContext = field(default_factory=tls)
