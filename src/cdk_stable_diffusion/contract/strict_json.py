"""Reading JSON without its traps.

Python's reader accepts NaN, keeps the last of two equal keys, lets lone surrogates through and
raises three different errors for hostile input. Here every one of these is one clear `ValueError`.
"""

from __future__ import annotations

import json
import re
from typing import Any

_MAX_DIGITS = 400
_MAX_DEPTH = 500
"""Less than Python's reader manages by itself, whose own limit is that of the process."""

_BRACKET_OR_STRING = re.compile(r'[\[\]{}]|"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)


def loads(text: str) -> Any:
    """Read one JSON document.

    Args:
        text: The document.

    Returns:
        The value.

    Raises:
        ValueError: If the text is not JSON, holds a number that JSON has not (NaN, Infinity),
            names a key twice in one object, is nested too deeply, or holds text that is not
            Unicode.
    """
    if _is_too_deep(text):
        raise ValueError("is nested too deeply")
    try:
        value = json.loads(
            text,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    try:
        # What the reader let through and no writer of JSON may write shows here.
        dumps(value).encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate, which is not a Unicode character") from None
    except ValueError:
        raise ValueError("holds a number that is out of range") from None
    return value


def dumps(value: Any) -> str:
    """Write a value as compact JSON, with characters as they are rather than escaped.

    Two characters are escaped: U+FFFE and U+FFFF, because SQS refuses a message that holds them,
    and SNS would not get it delivered.

    Args:
        value: The value.

    Returns:
        The document.

    Raises:
        ValueError: If the value holds NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("\ufffe", "\\ufffe").replace("\uffff", "\\uffff")


def _is_too_deep(text: str) -> bool:
    if text.count("[") + text.count("{") <= _MAX_DEPTH:
        return False
    depth = 0
    for match in _BRACKET_OR_STRING.finditer(text):
        if match[0] in "[{":
            depth += 1
            if depth > _MAX_DEPTH:
                return True
        elif match[0] in "]}":
            depth -= 1
    return False


def _integer(text: str) -> int:
    # Python's own reader speaks of its settings where a number has more than 4,300 digits.
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"holds a whole number of more than {_MAX_DIGITS} digits")
    return int(text)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"holds {name}, which JSON does not have")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"names {key[:64]!r} twice in one object")
        result[key] = value
    return result
