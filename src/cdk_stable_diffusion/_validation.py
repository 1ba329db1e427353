"""How constructs refuse bad arguments: every fault at once, before anything is made."""

from __future__ import annotations

from aws_cdk import Token


class Faults:
    """Collects what is wrong with a construct's arguments and raises it as one error.

    Messages are lower case and name the argument, the value given and what is allowed, so that a
    user can repair all of them in one edit.

    Example:
        >>> faults = Faults()
        >>> faults.check(False, "max_replicas is 0: at least 1")
        >>> faults.raise_if_any("SdRuntime 'App/Sdxl'")
        Traceback (most recent call last):
        ValueError: SdRuntime 'App/Sdxl': max_replicas is 0: at least 1
    """

    def __init__(self) -> None:
        """Start without faults."""
        self._messages: list[str] = []

    @property
    def messages(self) -> tuple[str, ...]:
        """The faults so far, in the order in which they were found."""
        return tuple(self._messages)

    def check(self, ok: bool, message: str) -> None:
        """Record `message` unless `ok`.

        Args:
            ok: Whether the condition holds.
            message: What is wrong where it does not.
        """
        if not ok:
            self._messages.append(message)

    def raise_if_any(self, where: str) -> None:
        """Raise one error that names every fault.

        Args:
            where: The construct or value whose arguments were checked.

        Raises:
            ValueError: If anything was recorded.
        """
        if self._messages:
            raise ValueError(f"{where}: {'; '.join(self._messages)}")


def is_token(value: object) -> bool:
    """Tell whether a value is known only at deployment, so that it cannot be checked now.

    Args:
        value: A value, such as a string, which may have a token in it, or a number.

    Returns:
        True for an unresolved CDK token.
    """
    return bool(Token.is_unresolved(value))
