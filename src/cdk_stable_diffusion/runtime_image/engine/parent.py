"""The engine must not outlive its agent, however that one ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent dies.

    The closing of the pipe says the same, but only to a process whose threads still run.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before the call.
    expected = os.environ.get("SD_AGENT_PROCESS")
    if expected is not None and os.getppid() != int(expected):
        os._exit(1)
