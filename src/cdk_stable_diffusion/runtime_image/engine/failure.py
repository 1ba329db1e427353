"""Why a command failed."""

from __future__ import annotations


class EngineFailure(Exception):
    """A command cannot be done.

    Attributes:
        code: One of `contract.result.ERROR_CODES`.
        detail: The reason in words.
        transient: Whether it may go well on another try.
    """

    def __init__(self, code: str, detail: str, *, transient: bool = False) -> None:
        """Describe the failure.

        Args:
            code: One of `contract.result.ERROR_CODES`.
            detail: The reason in words.
            transient: Whether it may go well on another try. Default: no.
        """
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.transient = transient


class BrokenDevice(EngineFailure):
    """The device is in a state that only a new process gets out of."""


class Cancelled(Exception):
    """The agent cancelled the command."""
