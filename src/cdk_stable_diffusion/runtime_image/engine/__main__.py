"""``python -m cdk_stable_diffusion.runtime_image.engine READ WRITE``: serve commands on two pipes.

The agent starts it; the arguments are the descriptors to read commands from and to write answers
to.
"""

from __future__ import annotations

import os
import signal
import sys

from ..frames import FrameReader, FrameWriter
from ..structured_log import set_up_logging
from .parent import die_with_parent
from .server import Server


def main() -> None:
    """Serve until the pipe closes."""
    # Stopping is the agent's to decide: it closes the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    die_with_parent()
    set_up_logging("engine")
    reader, writer = (int(argument) for argument in sys.argv[1:3])
    os.set_inheritable(reader, False)
    os.set_inheritable(writer, False)
    Server(FrameReader(reader), FrameWriter(writer)).run()


if __name__ == "__main__":
    main()
