"""What models and runtimes may be called."""

from __future__ import annotations

import re

from .limits import MAX_MODEL_NAME_CHARACTERS

MODEL_NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]*"
MODEL_NAME_SAYS = "letters, digits and . _ - with a letter or digit first"

RUNTIME_NAME_PATTERN = r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?"
"""A Kubernetes label of at most 40 characters, so that resources can add a suffix to it."""
RUNTIME_NAME_SAYS = (
    "1 to 40 lower-case letters, digits and dashes, with a letter or digit at both ends"
)

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
# The last label begins with a letter and has no other number's spelling, as no IPv4 address has.
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?:xn--[a-z0-9-]{{1,57}}[a-z0-9]|[a-z]{{2,63}})")
_MAX_HOST_CHARACTERS = 253


def is_model_name(name: str) -> bool:
    """Tell whether a model may be called so; such a name is safe as one part of an S3 key."""
    return (
        len(name) <= MAX_MODEL_NAME_CHARACTERS
        and re.fullmatch(MODEL_NAME_PATTERN, name) is not None
    )


def is_runtime_name(name: str) -> bool:
    """Tell whether a runtime may be called so; such a name is a valid Kubernetes label."""
    return re.fullmatch(RUNTIME_NAME_PATTERN, name) is not None


def is_host_name(name: str) -> bool:
    """Tell whether a name is a full DNS name in lower case, which no address can be."""
    return len(name) <= _MAX_HOST_CHARACTERS and _HOST.fullmatch(name) is not None
