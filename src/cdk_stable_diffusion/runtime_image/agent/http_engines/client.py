"""HTTP to an engine on this machine."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import urllib3

_CONNECT_SECONDS = 5.0
_MOST_DETAIL_CHARACTERS = 1_500
_FIRST_ERROR = 400
_MOST_JSON_BYTES = 512 * 2**20
"""Pictures come as base64 in JSON."""


class Unreachable(Exception):
    """No answer came.

    Attributes:
        refused: Whether nobody listens there, rather than answers too late.
    """

    def __init__(self, detail: str, *, refused: bool) -> None:
        """Describe it.

        Args:
            detail: What happened.
            refused: See the attribute.
        """
        super().__init__(detail)
        self.refused = refused


class ErrorAnswer(Exception):
    """The engine answered that it cannot.

    Attributes:
        status: The HTTP status.
        detail: What it said, cut to a few lines.
        document: The same as JSON, where it is JSON.
    """

    def __init__(self, status: int, data: bytes) -> None:
        """Read it.

        Args:
            status: The HTTP status.
            data: The body.
        """
        try:
            self.document = json.loads(data)
        except ValueError:
            self.document = None
        text = data.decode("utf-8", "replace")
        self.status = status
        self.detail = _said(self.document) or text[:_MOST_DETAIL_CHARACTERS]
        super().__init__(f"HTTP status {status}: {self.detail}")


class HttpClient:
    """Asks one engine. Neither proxies nor redirects lead anywhere else."""

    def __init__(self, url: str) -> None:
        """Prepare.

        Args:
            url: ``http://127.0.0.1:PORT``.
        """
        parts = urlsplit(url)
        assert parts.hostname is not None and parts.port is not None
        self.host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.port = parts.port
        self._pool = urllib3.HTTPConnectionPool(
            self.host, parts.port, maxsize=4, retries=False, timeout=_CONNECT_SECONDS
        )

    def get(self, path: str, *, timeout: float, query: Mapping[str, str] | None = None) -> Any:
        """Return a JSON document.

        Args:
            path: Its path.
            timeout: Most seconds to wait for each part of the answer.
            query: What follows the question mark. Default: nothing.

        Raises:
            Unreachable: If no answer came.
            ErrorAnswer: If it was an error.
        """
        return self._json(
            self._ask("GET", path, timeout=timeout, most=_MOST_JSON_BYTES, fields=dict(query or {}))
        )

    def post(self, path: str, document: Any, *, timeout: float) -> Any:
        """Send a JSON document and return the answer; None where that is none.

        Args:
            path: Where to.
            document: The document.
            timeout: As for `get`.

        Raises:
            Unreachable: As for `get`.
            ErrorAnswer: As for `get`.
        """
        answer = self._ask("POST", path, timeout=timeout, most=_MOST_JSON_BYTES, json=document)
        return self._json(answer) if answer else None

    def upload(self, path: str, fields: Mapping[str, Any], *, timeout: float) -> Any:
        """Send a form and return the answer.

        Args:
            path: Where to.
            fields: Texts, and files as a name, bytes and a media type.
            timeout: As for `get`.

        Raises:
            Unreachable: As for `get`.
            ErrorAnswer: As for `get`.
        """
        return self._json(
            self._ask("POST", path, timeout=timeout, most=_MOST_JSON_BYTES, fields=dict(fields))
        )

    def download(self, path: str, *, query: Mapping[str, str], timeout: float, most: int) -> bytes:
        """Return a file.

        Args:
            path: Its path.
            query: What follows the question mark.
            timeout: As for `get`.
            most: Most bytes to take.

        Raises:
            Unreachable: As for `get`.
            ErrorAnswer: As for `get`; also if it has more bytes.
        """
        return self._ask("GET", path, timeout=timeout, most=most, fields=dict(query))

    def close(self) -> None:
        """Close the connections that nobody waits on."""
        self._pool.close()

    def _ask(self, method: str, path: str, *, timeout: float, most: int, **content: Any) -> bytes:
        limit = urllib3.Timeout(connect=min(_CONNECT_SECONDS, timeout), read=timeout)
        try:
            answer = self._pool.request(
                method, path, redirect=False, preload_content=False, timeout=limit, **content
            )
            try:
                data: bytes = answer.read(most + 1, decode_content=True)
                if len(data) > most:
                    # What is left of it makes the connection useless.
                    answer.close()
                    raise ErrorAnswer(answer.status, f"has more than {most} bytes".encode())
            finally:
                answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            refused = not isinstance(error, urllib3.exceptions.TimeoutError)
            if isinstance(error, urllib3.exceptions.NewConnectionError):
                refused = True
            raise Unreachable(f"{type(error).__name__}: {error}", refused=refused) from None
        if answer.status >= _FIRST_ERROR:
            raise ErrorAnswer(answer.status, data)
        return data

    @staticmethod
    def _json(data: bytes) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError):
            raise Unreachable("its answer is not JSON", refused=False) from None


def _said(document: Any) -> str:
    """Return what the error in a document says, as either engine writes it."""
    if not isinstance(document, dict):
        return ""
    error = document.get("error")
    if isinstance(error, dict):
        error = " ".join(str(error.get(name, "")) for name in ("message", "details")).strip()
    words = [error, document.get("detail"), document.get("errors")]
    found = [
        word if isinstance(word, str) else json.dumps(word, ensure_ascii=False)
        for word in words
        if word
    ]
    return ": ".join(dict.fromkeys(found))[:_MOST_DETAIL_CHARACTERS]
