"""What is wrong with a document that came from outside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and where.

    Attributes:
        pointer: JSON Pointer (RFC 6901) to the value, such as ``/width``; empty for the whole
            document.
        detail: What is wrong and what is allowed, as a sentence for people.
    """

    pointer: str
    detail: str

    def to_dict(self) -> dict[str, str]:
        """Return the fault as a JSON object."""
        return {"pointer": self.pointer, "detail": self.detail}


class InvalidDocument(ValueError):
    """A document that breaks the contract, with every fault that was found.

    Attributes:
        faults: All faults, in the order of the document's fields; never empty.
    """

    def __init__(self, what: str, faults: Sequence[Fault]) -> None:
        """Collect the faults.

        Args:
            what: What the document should have been, such as "task request".
            faults: The faults; at least one.
        """
        self.faults: tuple[Fault, ...] = tuple(faults)
        listed = "; ".join(
            f"{fault.pointer}: {fault.detail}" if fault.pointer else fault.detail
            for fault in faults
        )
        super().__init__(f"invalid {what}: {listed}")


class InvalidTask(InvalidDocument):
    """A task request that breaks the contract."""


class InvalidMessage(InvalidDocument):
    """A message on a queue or topic that breaks the contract."""
