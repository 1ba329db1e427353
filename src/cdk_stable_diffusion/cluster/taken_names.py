"""Names in a cluster, each of which one construct may have."""

from __future__ import annotations


class TakenNames:
    """The names that are taken, of one kind of thing in a cluster."""

    def __init__(self, kind: str) -> None:
        """Start without names.

        Args:
            kind: What has them, for the refusal.
        """
        self._kind = kind
        self._names: set[str] = set()

    def take(self, name: str) -> None:
        """Take a name.

        Args:
            name: The name.

        Raises:
            ValueError: If it is taken.
        """
        if name in self._names:
            raise ValueError(f"the cluster already has a {self._kind} named {name!r}")
        self._names.add(name)

    def give_back(self, name: str) -> None:
        """Give a name back; what is refused after all does so.

        Args:
            name: The name.
        """
        self._names.discard(name)
