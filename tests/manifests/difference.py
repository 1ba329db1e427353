"""What a change of an app changes in its templates, resource by resource and field by field."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from cdk_stable_diffusion.validation.template import KUBERNETES_RESOURCE, read_manifest
from cdk_stable_diffusion.validation.token import readable

Template = Mapping[str, Any]

ADDED = "added"
REMOVED = "removed"


def difference(before: Template, after: Template) -> dict[str, set[str]]:
    """Return the resources that differ, by their construct's path, with the fields that do.

    Args:
        before: A template.
        after: The same template after a change.

    Returns:
        Fields such as ``Version``, or ``spec.maxReplicaCount`` of a Kubernetes resource; or
        "added" or "removed".
    """
    old, new = _resources(before), _resources(after)
    found: dict[str, set[str]] = {}
    for name in old.keys() | new.keys():
        if name not in old:
            found[name] = {ADDED}
        elif name not in new:
            found[name] = {REMOVED}
        elif old[name] != new[name]:
            found[name] = set(_fields(old[name], new[name], ""))
    return found


def _resources(template: Template) -> dict[str, Any]:
    return {
        _path(logical_id, resource): _content(template, logical_id, resource)
        for logical_id, resource in template["Resources"].items()
    }


def _path(logical_id: str, resource: Mapping[str, Any]) -> str:
    path = str(resource.get("Metadata", {}).get("aws:cdk:path", logical_id))
    # Without the stack, and without what a construct calls its own resource.
    return re.sub(r"(/Resource)?(/Default)?$", "", path.partition("/")[2] or path)


def _content(template: Template, logical_id: str, resource: Mapping[str, Any]) -> Any:
    properties = dict(resource.get("Properties", {}))
    if resource["Type"] == KUBERNETES_RESOURCE:
        (manifest,) = read_manifest(template, logical_id).resources
        del properties["Manifest"]
        properties.update(readable(manifest))
    rest = {name: item for name, item in resource.items() if name not in ("Metadata", "Properties")}
    # The order in which a resource waits for others says nothing.
    rest["DependsOn"] = sorted(rest.get("DependsOn", ()))
    return {**rest, **properties}


def _fields(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for name in old.keys() | new.keys():
            if old.get(name) != new.get(name):
                yield from _fields(old.get(name), new.get(name), f"{path}.{name}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True)):
            if one != other:
                yield from _fields(one, other, f"{path}[{_called(one, index)}]")
    else:
        yield path


def _called(item: Any, index: int) -> str:
    """Return what an item of a list is called: by its name, where it has one."""
    return str(item.get("name", index)) if isinstance(item, Mapping) else str(index)
