"""Saying no: raised anywhere in the function, answered as a problem document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..contract.fault import Fault


class Refusal(Exception):
    """A request that is answered with a problem instead of a task.

    Attributes:
        status: The HTTP status.
        detail: What went wrong, for people.
        faults: Every fault of the request, if it is to blame.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        faults: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Say why.

        Args:
            status: The HTTP status, one of the contract's `TITLES`.
            detail: What went wrong, for people.
            faults: Every fault of the request. Default: none.
            headers: Headers of the answer. Default: none.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = dict(headers or {})


def faulty(faults: Sequence[Fault]) -> Refusal:
    """Return the refusal of a task that is wrong.

    Args:
        faults: What is wrong with it.
    """
    count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
    return Refusal(400, f"The task has {count}.", faults)
