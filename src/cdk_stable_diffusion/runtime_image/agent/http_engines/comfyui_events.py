"""What ComfyUI tells while it works, over a WebSocket.

It only says that something is new: how a prompt ended is in ComfyUI's history. So nothing is lost
with a connection.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

_OPEN_SECONDS = 5.0
_CLOSE_SECONDS = 0.5
_AGAIN_SECONDS = 1.0
_MOST_MESSAGE_BYTES = 64 * 2**20
"""Previews of pictures come this way, too."""


class Events:
    """The messages for one client; empty while there is no connection."""

    def __init__(self, host: str, port: int, client_id: str) -> None:
        """Connect.

        Args:
            host: Where ComfyUI is.
            port: Its port.
            client_id: The client for which prompts will be sent.
        """
        self._url = f"ws://{host}:{port}/ws?clientId={client_id}"
        self._open = contextlib.ExitStack()
        self._connection: Connection | None = None
        self._not_before = 0.0
        self._connect()

    def next(self, timeout: float) -> dict[str, Any] | None:
        """Return the next message, or None if none comes in time.

        Args:
            timeout: Most seconds to wait.
        """
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self._connection is None:
                self._connect()
            if self._connection is None:
                time.sleep(left)
                return None
            try:
                message = _read(self._connection.recv(timeout=left))
            except TimeoutError:
                return None
            except (WebSocketException, OSError):
                self._drop()
                continue
            if message is not None:
                return message
        return None

    def close(self) -> None:
        """Hang up."""
        self._drop()

    def _connect(self) -> None:
        if time.monotonic() < self._not_before:
            return
        self._not_before = time.monotonic() + _AGAIN_SECONDS
        with contextlib.suppress(WebSocketException, OSError):
            self._connection = self._open.enter_context(
                connect(
                    self._url,
                    open_timeout=_OPEN_SECONDS,
                    close_timeout=_CLOSE_SECONDS,
                    # ComfyUI answers no ping while a node keeps it busy.
                    ping_interval=None,
                    compression=None,
                    max_size=_MOST_MESSAGE_BYTES,
                    proxy=None,
                )
            )

    def _drop(self) -> None:
        self._connection = None
        with contextlib.suppress(WebSocketException, OSError):
            self._open.close()


def _read(message: str | bytes) -> dict[str, Any] | None:
    """Return a message that is JSON; a preview is not."""
    if isinstance(message, bytes):
        return None
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(message)
        if isinstance(document, dict) and isinstance(document.get("data"), dict):
            return document
    return None
