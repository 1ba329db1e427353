"""What is wrong with a Kubernetes resource."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

SCHEMA = "schema"
"""The rule of every fault that the schema of a kind finds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What is wrong with a field of a Kubernetes resource.

    Attributes:
        field: The field, such as "spec.template.spec.containers[0].image".
        says: What is wrong with it.
        rule: What found it: "schema", or the name of a rule.
    """

    field: str
    says: str
    rule: str = SCHEMA

    def __str__(self) -> str:
        """Return the fault as one line."""
        return f"{self.field}: {self.says}"


def field_path(parts: Iterable[object]) -> str:
    """Return where a field is, as Kubernetes writes it.

    Args:
        parts: Names of fields and indices of items, from the resource down.
    """
    path = ""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.search(r"[./]", str(part)):
            # The key of a label or the like.
            path += f"[{part!r}]"
        else:
            path += f".{part}" if path else str(part)
    return path
