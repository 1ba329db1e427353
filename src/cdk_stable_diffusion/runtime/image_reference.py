"""What can be the name of a container image."""

from __future__ import annotations

import re

_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_PORT = r":[0-9]{1,5}"
# A first part without a dot and a port is no registry, but a user of Docker Hub.
_REGISTRY = (
    rf"(?:{_LABEL}(?:\.{_LABEL})*{_PORT}|{_LABEL}(?:\.{_LABEL})+|\[[0-9A-Fa-f:]+\](?:{_PORT})?)"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_IMAGE = re.compile(
    rf"(?:{_REGISTRY}/)?{_COMPONENT}(?:/{_COMPONENT})*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?"
)

IMAGE_SAYS = (
    "an image, as registry/name:tag or registry/name@sha256:... with 64 digits; the name is in "
    "lower case, and has no scheme"
)


def is_image_reference(text: str) -> bool:
    """Tell whether the kubelet takes a text for an image's name.

    Args:
        text: The text.
    """
    return _IMAGE.fullmatch(text) is not None
