"""Names in the cluster, from identifiers in the app."""

from __future__ import annotations

import re


def kebab_case(id: str) -> str:
    """Return an identifier such as ``SdxlTurbo`` as ``sdxl-turbo``.

    Args:
        id: Identifier of a construct.
    """
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3-\2\4", id)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
