"""``python -m cdk_stable_diffusion.runtime_image.engine.reading_ahead SOCKET``: read models.

In a process of its own beside the engine. While a library makes a model, it sets what holds for its
whole process, such as the type of numbers that nobody gave a type: what is drawn in that moment
would be another picture. And the engine's device is no business of this process.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..structured_log import set_up_logging
from .parent import die_with_parent

READY = b"ready"
MOST_BYTES = 1 << 16
"""More than any message has."""

_NICENESS = 5


def main() -> None:
    """Serve until the socket closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent()
    set_up_logging("engine")
    # What draws and what serves the queue go first.
    os.nice(_NICENESS)
    channel = socket.socket(fileno=int(sys.argv[1]))
    from .libraries import import_libraries

    import_libraries()
    from .loading import load_pipeline

    serve(channel, load_pipeline)


def serve(channel: socket.socket, read: Callable[..., Any]) -> None:
    """Answer requests until the channel closes.

    Args:
        channel: Messages come and go here.
        read: Reads a model, as `loading.load_pipeline` does.
    """
    channel.send(READY)
    while request := channel.recv(MOST_BYTES):
        values = json.loads(request)
        began = time.monotonic()
        try:
            memory = written(read(Path(values.pop("directory")), **values))
        except Exception as error:
            # Who loads the model says what is wrong with it.
            channel.send(json.dumps({"failed": f"{type(error).__name__}: {error}"[:500]}).encode())
            continue
        seconds = round(time.monotonic() - began, 3)
        try:
            socket.send_fds(channel, [json.dumps({"seconds": seconds}).encode()], [memory])
        finally:
            os.close(memory)


def written(pipeline: Any) -> int:
    """Write a pipeline into memory that can be given to another process.

    Args:
        pipeline: The pipeline, in the host's memory.

    Returns:
        The descriptor of a file in memory.
    """
    import torch

    # Nobody but the receiver sees it, and nothing changes it on its way.
    torch.serialization.set_crc32_options(False)
    memory = os.memfd_create("model", os.MFD_CLOEXEC)
    try:
        with open(memory, "wb", closefd=False) as file:
            torch.save(pipeline, file)
    except BaseException:
        os.close(memory)
        raise
    return memory


if __name__ == "__main__":
    main()
