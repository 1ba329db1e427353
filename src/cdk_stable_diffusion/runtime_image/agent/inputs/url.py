"""HTTPS URLs, in the one narrow spelling that every reader understands alike.

Two parsers that disagree about where a host ends are how allow-lists are passed by. So this is not
a parser of URLs: it takes printable ASCII in the plainest form and refuses all other spellings.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ....contract.names import is_host_name
from .refusal import InputRefused

_URL = re.compile(r"https://([^/?#\\@:\[\]]+)(:[^/?#]*)?(/[!-~]*|\?[!-~]*)?", re.IGNORECASE)
_PRINTABLE = re.compile(r"[!-~]+")
_MAX_CHARACTERS = 2048


@dataclass(frozen=True, kw_only=True, slots=True)
class HttpsUrl:
    """A checked URL on port 443.

    Attributes:
        host: The host's name in lower case.
        target: Path and query, as they go into the request line.
    """

    host: str
    target: str


def parse_https_url(text: str) -> HttpsUrl:
    """Check a URL.

    Args:
        text: The URL.

    Raises:
        InputRefused: If it is anything but ``https://host/path?query``.
    """
    if len(text) > _MAX_CHARACTERS:
        raise InputRefused(f"a URL must have at most {_MAX_CHARACTERS} characters")
    if not _PRINTABLE.fullmatch(text) or "\\" in text:
        raise InputRefused("a URL must be printable ASCII without blanks and backslashes")
    if "#" in text:
        raise InputRefused("a URL must not have a fragment")
    authority = text.partition("://")[2].partition("/")[0].partition("?")[0]
    if "@" in authority:
        raise InputRefused("a URL must not carry credentials")
    match = _URL.fullmatch(text)
    if match is None:
        raise InputRefused("a URL must be https:// with the name of a host")
    host, port, target = match[1].lower(), match[2], match[3] or "/"
    if port not in (None, ":443"):
        raise InputRefused("a URL must have no port but 443")
    if not is_host_name(host):
        raise InputRefused("a URL must name its host by a full DNS name, not by an address")
    return HttpsUrl(host=host, target=target if target.startswith("/") else f"/{target}")
