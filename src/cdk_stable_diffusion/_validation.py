"""How constructs refuse bad arguments: every fault at once, before anything is made."""

from __future__ import annotations

import inspect
import math
from typing import Any

from aws_cdk import Token
from constructs import Construct

A_WHOLE_NUMBER = "a whole number, such as 3"
A_NUMBER = "a number, such as 2.5"
A_DURATION = "a Duration, such as Duration.minutes(5)"

_SHOWN_CHARACTERS = 80


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

    def check_type(
        self,
        name: str,
        value: object,
        kind: type | tuple[type, ...],
        hint: str,
        *,
        optional: bool = False,
        tokens: bool = False,
    ) -> bool:
        """Record that a value has the wrong type; check nothing else of it then.

        Args:
            name: Name of the argument.
            value: Its value.
            kind: What it may be an instance of. A bool is no number here. Not an interface of the
                AWS CDK, which Python cannot recognise: see `check_has`.
            hint: What is allowed, such as "a Duration, such as Duration.minutes(5)".
            optional: Whether None is allowed, too.
            tokens: Whether a token may stand for it.

        Returns:
            Whether the value can be checked further: its type is right, and it is not None.
        """
        if optional and value is None:
            return False
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
            return True
        if is_token(value):
            # CDK's tokens for numbers are floats, also where a whole number is wanted.
            self.check(tokens, f"{name} is a token: it must be known at synthesis")
            return False
        self.check(False, f"{name} is {shown(value)}: {hint}")
        return False

    def check_has(
        self, name: str, value: object, attribute: str, hint: str, *, optional: bool = False
    ) -> bool:
        """Record that a value cannot be what it should, since it lacks an attribute.

        Args:
            name: Name of the argument.
            value: Its value.
            attribute: An attribute that whatever is allowed has.
            hint: What is allowed, such as "a key, such as a kms.Key".
            optional: Whether None is allowed, too.

        Returns:
            Whether the value can be checked further: it has the attribute, and is not None.
        """
        if optional and value is None:
            return False
        has = hasattr(value, attribute)
        self.check(has, f"{name} is {shown(value)}: {hint}")
        return has

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
    if isinstance(value, float) and not math.isfinite(value):
        # JSON has no such numbers, and jsii's process ends where it is asked of one.
        return False
    if isinstance(value, (str, int, float)):
        return bool(Token.is_unresolved(value))
    if isinstance(value, (type, Construct)):
        return False
    # Other objects are tokens by what they can do, and jsii could not take all to ask the CDK.
    return hasattr(value, "resolve") and hasattr(value, "to_string")


def shown(value: Any) -> str:
    """Return a value as an error shows it: short, and the same in every run.

    Args:
        value: The value.
    """
    kind = type(value).__name__
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if isinstance(value, Construct):
        return f"the {kind} {value.node.path!r}"
    if inspect.isroutine(value):
        return f"the function {value.__qualname__}"
    text = repr(value)
    if " object at 0x" in text:
        return f"a value of type {kind}"
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
