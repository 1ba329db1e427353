"""Why a task cannot be done, now or ever."""

from __future__ import annotations

import re

from ...contract.limits import MAX_ERROR_DETAIL_CHARACTERS

_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")


class TaskFailure(Exception):
    """A task failed.

    Attributes:
        code: One of `contract.result.ERROR_CODES`.
        detail: The reason in words.
        transient: Whether the same task may go well on another try.
    """

    def __init__(self, code: str, detail: str, *, transient: bool = False) -> None:
        """Describe the failure.

        Args:
            code: One of `contract.result.ERROR_CODES`.
            detail: The reason in words.
            transient: Whether the same task may go well on another try. Default: no.
        """
        super().__init__(detail)
        self.code = code
        # The words of a library may hold what a result may not.
        self.detail = _FORBIDDEN.sub("?", detail)[:MAX_ERROR_DETAIL_CHARACTERS]
        self.transient = transient
