"""What stands for a value that is known only at deployment."""

from __future__ import annotations

import re
from typing import Any

# Characters of Unicode's private use, which no manifest has.
_OPEN, _CLOSE, _UNTYPED = "\ue000", "\ue001", "\ue002"
_TOKEN = re.compile(f"{_OPEN}(.*?){_CLOSE}")


def token(name: str) -> str:
    """Return a stand-in for a string, or for a part of one.

    Args:
        name: What the value is, such as "Queue.Arn".
    """
    return f"{_OPEN}{name}{_CLOSE}"


def untyped_token(name: str) -> str:
    """Return a stand-in for a value that need not be a string, such as a number or a list.

    Args:
        name: What the value is.
    """
    return f"{_UNTYPED}{token(name)}"


def has_token(value: object) -> bool:
    """Tell whether a value is a string of which some part is not known yet.

    Args:
        value: The value.
    """
    return isinstance(value, str) and _OPEN in value


def is_untyped(value: object) -> bool:
    """Tell whether nothing is known of a value, not even its type.

    Args:
        value: The value.
    """
    return isinstance(value, str) and value.startswith(_UNTYPED)


def holds_token(value: Any) -> bool:
    """Tell whether some value in a resource is not known yet.

    Args:
        value: A resource, or a part of one.
    """
    if isinstance(value, dict):
        return any(holds_token(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_token(item) for item in value)
    return has_token(value)


def with_tokens_as(value: Any, *, text: str, untyped: Any) -> Any:
    """Return a part of a resource with values in place of what is not known.

    Args:
        value: A resource, or a part of one.
        text: What strings, and parts of strings, are to be.
        untyped: What all else is to be.
    """
    if isinstance(value, dict):
        return {
            name: with_tokens_as(item, text=text, untyped=untyped) for name, item in value.items()
        }
    if isinstance(value, list):
        return [with_tokens_as(item, text=text, untyped=untyped) for item in value]
    if is_untyped(value):
        return untyped
    return _TOKEN.sub(lambda match: text, value) if has_token(value) else value


def readable(value: Any) -> Any:
    """Return a resource, or a part of one, with what is not known written as ``${Queue.Arn}``.

    Args:
        value: A resource, or a part of one.
    """
    if isinstance(value, dict):
        return {name: readable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [readable(item) for item in value]
    if isinstance(value, str):
        return _TOKEN.sub(r"${\1}", value.removeprefix(_UNTYPED))
    return value
