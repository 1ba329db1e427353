"""Pictures that lie in the request itself."""

from __future__ import annotations

import base64
import binascii
import re

from .refusal import InputRefused

_HEAD = re.compile(r"data:image/(?:png|jpeg|webp);base64,")


def read_data_url(url: str, *, max_bytes: int) -> bytes:
    """Decode a data URL.

    Args:
        url: The URL. Its media type is not believed; what it must be is only spelt.
        max_bytes: Most bytes of the file.

    Raises:
        InputRefused: If it is not base64 of such a file, or too large.
    """
    head = _HEAD.match(url)
    if head is None:
        raise InputRefused("a data URL must begin with data:image/png;base64, (or jpeg, or webp)")
    encoded = url[head.end() :]
    # Before it is decoded, so that nothing large is ever copied.
    if len(encoded) > 4 * (max_bytes // 3 + 1):
        raise InputRefused(f"must have at most {max_bytes} bytes")
    try:
        return base64.b64decode(encoded.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        raise InputRefused("a data URL must hold base64 and nothing else") from None
