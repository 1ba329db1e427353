"""How a runtime's settings spell what is done to each picture between drawing and storing."""

from __future__ import annotations

import re

MODELS_OWN = "model"
"""The safety checker that the model's directory has."""

TEXT_MARK = "text="
"""What a watermark begins with that is the text behind it."""

MAX_HOOK_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 100

HOOK_SAYS = "module:function, as Python would import it"
TEXT_SAYS = f"1 to {MAX_TEXT_CHARACTERS} printable characters of ASCII that are not all blanks"

_NAME = "[A-Za-z_][A-Za-z0-9_]*"
_HOOK = rf"{_NAME}(?:\.{_NAME})*:{_NAME}"


def is_hook(text: str) -> bool:
    """Tell whether a text names a function of Python: ``module:function``."""
    return len(text) <= MAX_HOOK_CHARACTERS and re.fullmatch(_HOOK, text) is not None


def is_safety_checker(text: str) -> bool:
    """Tell whether a text names a safety checker: the model's own or a hook."""
    return text == MODELS_OWN or is_hook(text)


def is_mark_text(text: str) -> bool:
    """Tell whether a text can be written on a picture."""
    return len(text) <= MAX_TEXT_CHARACTERS and re.fullmatch(r" *[!-~][ -~]*", text) is not None


def is_watermark(text: str) -> bool:
    """Tell whether a text spells a watermark: a hook, or a text to write."""
    return is_hook(text) or (text.startswith(TEXT_MARK) and is_mark_text(text[len(TEXT_MARK) :]))
