"""Frames: how agent and engine talk over a pair of pipes.

A frame is a JSON object with, where it carries a picture, raw bytes behind it:

    4 bytes length of the JSON | 8 bytes length of the payload | JSON | payload

Standard library only, because the agent must never import torch and the engine never boto3.
"""

from __future__ import annotations

import json
import os
import struct
import threading
from dataclasses import dataclass, field
from typing import Any

_LENGTHS = struct.Struct(">IQ")
_MAX_HEADER_BYTES = 1 << 20
_MAX_PAYLOAD_BYTES = 1 << 30
_PIECE_BYTES = 1 << 20


class BrokenFrames(Exception):
    """The other side sent what is not a frame, or ended in the middle of one."""


@dataclass(frozen=True)
class Frame:
    """One message between agent and engine.

    Attributes:
        header: The JSON object.
        payload: Raw bytes that go with it.
    """

    header: dict[str, Any]
    payload: bytes = field(default=b"", repr=False)


class FrameReader:
    """Reads frames from a file descriptor, which it owns. For one thread."""

    def __init__(self, descriptor: int) -> None:
        """Take over a descriptor that is open for reading."""
        self._descriptor = descriptor

    def read(self) -> Frame | None:
        """Wait for the next frame.

        Returns:
            The frame, or None if the other side has closed its end.

        Raises:
            BrokenFrames: If what comes is not a frame.
        """
        start = self._exactly(_LENGTHS.size, may_end=True)
        if start is None:
            return None
        header_bytes, payload_bytes = _LENGTHS.unpack(start)
        if header_bytes > _MAX_HEADER_BYTES or payload_bytes > _MAX_PAYLOAD_BYTES:
            raise BrokenFrames(f"frame of {header_bytes} + {payload_bytes} bytes is too large")
        try:
            header = json.loads((self._exactly(header_bytes) or b"").decode("utf-8"))
        except ValueError as error:
            raise BrokenFrames(f"frame's header is not JSON: {error}") from None
        if not isinstance(header, dict):
            raise BrokenFrames("frame's header is not an object")
        return Frame(header, self._exactly(payload_bytes) or b"")

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._descriptor)

    def _exactly(self, count: int, *, may_end: bool = False) -> bytes | None:
        pieces, missing = list[bytes](), count
        while missing > 0:
            # No byte of what comes next, or a picture that comes in one piece would be copied.
            piece = os.read(self._descriptor, min(missing, _PIECE_BYTES))
            if not piece:
                if may_end and missing == count:
                    return None
                raise BrokenFrames("ended in the middle of a frame")
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)


class FrameWriter:
    """Writes frames to a file descriptor, which it owns. Safe for many threads."""

    def __init__(self, descriptor: int) -> None:
        """Take over a descriptor that is open for writing."""
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._open = True

    def write(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Write one frame.

        Args:
            header: A JSON object.
            payload: Raw bytes that go with it.

        Raises:
            OSError: If the other side is gone.
        """
        text = json.dumps(header, ensure_ascii=False, allow_nan=False).encode("utf-8")
        with self._lock:
            if not self._open:
                raise BrokenPipeError("the pipe is closed")
            self._all(_LENGTHS.pack(len(text), len(payload)) + text)
            self._all(payload)

    def close(self) -> None:
        """Close the descriptor, which tells the other side that this is the end."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._descriptor)

    def _all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view[:_PIECE_BYTES]) :]
