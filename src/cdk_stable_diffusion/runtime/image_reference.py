"""What can be the name of a container image."""

from __future__ import annotations

import re

from ..image_cache_handler.references import COMPONENT, LABEL

_PORT = r":[0-9]{1,5}"
# A first part without a dot and a port is no registry, but a user of Docker Hub.
_REGISTRY = rf"(?:{LABEL}(?:\.{LABEL})*{_PORT}|{LABEL}(?:\.{LABEL})+|\[[0-9A-Fa-f:]+\](?:{_PORT})?)"
_IMAGE = re.compile(
    rf"(?:{_REGISTRY}/)?{COMPONENT}(?:/{COMPONENT})*"
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
