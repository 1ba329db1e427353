"""Which resource of a template waits for which: CloudFormation deletes in the reverse order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any


class DependencyGraph:
    """What each resource of a template waits for, directly or through others."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._resources = template["Resources"]
        self._direct = {
            name: set(_references(resource, self._resources)) - {name}
            for name, resource in self._resources.items()
        }

    def waits_for(self, name: str) -> set[str]:
        """Return all that must exist before a resource, and is deleted after it."""
        seen: set[str] = set()
        waiting = [name]
        while waiting:
            for other in self._direct[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    def named(self, *parts: str) -> str:
        """Return the one resource whose construct path ends so."""
        end = "/".join(parts)
        found: str
        (found,) = (
            name
            for name, resource in self._resources.items()
            if re.search(rf"(^|/){re.escape(end)}(/Resource)?(/Default)?$", _path(resource))
        )
        return found

    def of_type(self, kind: str) -> list[str]:
        """Return all resources of a type."""
        return [name for name, each in self._resources.items() if each["Type"] == kind]


def _path(resource: Mapping[str, Any]) -> str:
    return str(resource.get("Metadata", {}).get("aws:cdk:path", ""))


def _references(value: Any, names: Mapping[str, Any]) -> Iterator[str]:
    match value:
        case {"Ref": str(name)} if name in names:
            yield name
        case {"Fn::GetAtt": [str(name), *_]}:
            yield name
        case Mapping():
            for key, item in value.items():
                if key == "DependsOn":
                    yield from [item] if isinstance(item, str) else item
                else:
                    yield from _references(item, names)
        case list():
            for item in value:
                yield from _references(item, names)
