"""Names in the cluster, from identifiers in the app."""

from __future__ import annotations

import re

from .._validation import Faults, is_token
from ..contract.names import RUNTIME_NAME_SAYS, is_runtime_name


def kebab_case(id: str) -> str:
    """Return an identifier such as ``SdxlTurbo`` as ``sdxl-turbo``.

    Args:
        id: Identifier of a construct.
    """
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3-\2\4", id)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")


def check_name(faults: Faults, name: str) -> bool:
    """Check the name of a runtime or of a pool.

    Args:
        faults: Where to record what is wrong.
        name: The name.

    Returns:
        Whether it is right.
    """
    if not faults.check_type("name", name, str, RUNTIME_NAME_SAYS):
        return False
    is_name = not is_token(name) and is_runtime_name(name)
    faults.check(is_name, f"name is {name!r}: {RUNTIME_NAME_SAYS}")
    return is_name
