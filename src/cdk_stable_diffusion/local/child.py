"""Run a module as a child that never outlives its parent, however the parent ends.

Used as ``python -m cdk_stable_diffusion.local.child PARENT MODULE [ARGUMENT...]``.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_PARENT_DIED = 1  # PR_SET_PDEATHSIG of <linux/prctl.h>
_POLL_SECONDS = 0.5


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends.

    Args:
        parent: The parent's process id.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PARENT_DIED, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)


def main() -> None:
    """Run the module that the arguments name."""
    die_with_parent(int(sys.argv[1]))
    module = sys.argv[2]
    sys.argv = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
