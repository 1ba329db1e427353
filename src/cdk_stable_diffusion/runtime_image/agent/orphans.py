"""What an engine leaves behind: as process 1 of its container the agent is heir to it."""

from __future__ import annotations

import os


class Orphans:
    """Processes that engines have started, and that have ended with them. For one thread."""

    def __init__(self) -> None:
        """Begin without any."""
        self._groups: set[int] = set()

    def inherit(self, group: int) -> None:
        """Hear of an engine that has ended.

        Args:
            group: Its process group, to which all belong that it has started.
        """
        self._groups.add(group)

    def bury(self) -> None:
        """Take note of the ends of those that are no more, which else would keep their numbers."""
        self._groups = {group for group in self._groups if _has_members_left(group)}


def _has_members_left(group: int) -> bool:
    try:
        while True:
            process, _ = os.waitpid(-group, os.WNOHANG)
            if not process:
                return True
    except ChildProcessError:
        return False
