"""A real HTTPS server on this machine, its authority, and a network in which it is the internet."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from cdk_stable_diffusion.runtime_image.agent.inputs.network import Network

HOST = "images.example.org"
PUBLIC = "93.184.215.14"
PUBLIC_6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"

Answer = Callable[[ssl.SSLSocket], None]


class Authority:
    """Signs certificates that the tests' clients believe."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
        self._certificate = self._sign(self._name, self._key.public_key(), authority=True)
        pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.trusting = ssl.create_default_context(cadata=pem)

    def server_terms(self, host: str) -> ssl.SSLContext:
        """Return the TLS terms of a server with a certificate for a host."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
        certificate = self._sign(name, key.public_key(), host=host)
        path = self._directory / f"{host.strip('*')}.pem"
        path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePublicKey,
        *,
        host: str = "",
        authority: bool = False,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.timezone.utc)
        alternative: list[x509.GeneralName] = [x509.DNSName(host or "authority")]
        alternative.append(x509.IPAddress(ipaddress.ip_address("203.0.113.9")))
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )


class Server:
    """Answers one connection after the other as it is told to, and takes note of what it hears."""

    def __init__(self, terms: ssl.SSLContext) -> None:
        self._terms = terms
        self.names: list[str | None] = []
        self.requests: list[str] = []
        self.answer: Answer = lambda _: None
        self._closed = False
        terms.sni_callback = self._hear_name
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closed = True
        # Closing alone does not wake a thread that accepts.
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._thread.join(5)
        self._listener.close()

    def _hear_name(self, _socket: object, name: str | None, _context: object) -> None:
        self.names.append(name)

    def _serve(self) -> None:
        while True:
            plain, _ = self._listener.accept()
            if self._closed:
                plain.close()
                return
            plain.settimeout(10)
            try:
                with self._terms.wrap_socket(plain, server_side=True) as connection:
                    head = b""
                    while b"\r\n\r\n" not in head and (piece := connection.recv(4096)):
                        head += piece
                    self.requests.append(head.decode("latin-1"))
                    self.answer(connection)
                    connection.unwrap()
            except OSError:
                # The client hung up, as it should for most of these answers.
                plain.close()


@dataclass
class Internet:
    """Names and addresses as a test wants them; whatever is connected to is the server."""

    server: Server
    trusting: ssl.SSLContext
    answers: list[Sequence[str]] = field(default_factory=lambda: [[PUBLIC]])
    looked_up: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    unreachable: set[str] = field(default_factory=set)

    def network(self) -> Network:
        return Network(resolve=self._resolve, connect=self._connect, tls=self.trusting)

    def _resolve(self, host: str) -> Sequence[str]:
        self.looked_up.append(host)
        # Another answer each time, as a name server that means harm gives; the last one stays.
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def _connect(self, address: str, timeout: float) -> socket.socket:
        self.connected.append(address)
        if address in self.unreachable:
            raise ConnectionRefusedError
        return socket.create_connection(("127.0.0.1", self.server.port), timeout)


def says(status: str, *headers: str, body: bytes = b"") -> Answer:
    """Answer with a status, headers and a body, its length announced unless the headers do."""
    lines = [f"HTTP/1.1 {status}", *headers]
    if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
        lines.append(f"Content-Length: {len(body)}")
    data = ("\r\n".join(lines) + "\r\n\r\n").encode() + body
    return lambda connection: connection.sendall(data)


def says_for_ever(head: bytes, piece: bytes, pause: float = 0.0) -> Answer:
    """Answer without an end."""

    def answer(connection: ssl.SSLSocket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return answer
