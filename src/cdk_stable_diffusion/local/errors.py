"""What goes wrong locally and is the user's to mend: shown as a message, without a traceback."""

from __future__ import annotations


class LocalError(Exception):
    """A failure whose message tells the user all there is to know."""
