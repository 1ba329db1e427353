"""How the C library gives the agent its memory."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE_BYTES = 128 * 1024


def keep_large_blocks_apart() -> None:
    """Have the memory of every picture given back to the system when it is free.

    glibc does so with large blocks, but moves its notion of large up to what it has met, and takes
    the next pictures from its heaps, in which ever more gaps stay. A value that is set does not
    move. Another C library is left as it is.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
