"""Why an input image is not taken."""

from __future__ import annotations

from ..failure import TaskFailure

CODE = "input-invalid"


class InputRefused(TaskFailure):
    """An input image cannot be used, and no other try would change that.

    Its words name the rule that was broken, never the reference or what is behind it: a result may
    be read by others than who wrote the reference.
    """

    def __init__(self, detail: str) -> None:
        """Describe the refusal.

        Args:
            detail: The rule that was broken, as the end of a sentence that begins with the field.
        """
        super().__init__(CODE, detail)


class InputUnavailable(TaskFailure):
    """An input image could not be fetched now; another try may go better."""

    def __init__(self, detail: str) -> None:
        """Describe the failure.

        Args:
            detail: What happened, as the end of a sentence that begins with the field.
        """
        super().__init__(CODE, detail, transient=True)
