"""Checks a Kubernetes resource as the API server would, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cel import rule_faults
from .fault import Fault
from .rules import own_rule_faults
from .schema import (
    Schema,
    closed,
    core_definition,
    core_schema,
    custom_schema,
    is_known_to_be_missing,
    kubernetes_version,
)
from .structure import structure_faults
from .token import is_untyped


def is_known(resource: Mapping[str, Any]) -> bool:
    """Tell whether a resource can be judged.

    It can if there is a schema of its kind, or its API group is known not to have that kind.

    Args:
        resource: The resource.
    """
    api_version, kind = resource["apiVersion"], resource["kind"]
    return (
        core_definition(api_version, kind) is not None
        or custom_schema(api_version, kind) is not None
        or is_known_to_be_missing(api_version, kind)
    )


def faults_of(resource: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with a resource: nothing where its kind is not known.

    Args:
        resource: The resource, with stand-ins for what is known only at deployment.

    Returns:
        What its schema refuses; or, as rules are for what is well formed, what rules refuse.
    """
    api_version, kind = resource["apiVersion"], resource["kind"]
    definition = core_definition(api_version, kind)
    if definition is not None:
        faults = list(structure_faults(resource, core_schema(definition)))
        return faults or list(own_rule_faults(resource))
    schema = custom_schema(api_version, kind)
    if schema is not None:
        complete = _complete(resource, schema)
        faults = list(structure_faults(complete, closed(schema)))
        return faults or [*rule_faults(complete, schema), *own_rule_faults(complete)]
    if is_known_to_be_missing(api_version, kind):
        return [Fault(field="kind", says=_missing(api_version, kind))]
    return []


def _missing(api_version: str, kind: str) -> str:
    where = api_version
    if "." not in api_version or api_version.partition("/")[0].endswith(".k8s.io"):
        where = f"{api_version} of Kubernetes {kubernetes_version()}"
    return f"is {kind!r}: there is no such kind in {where}"


def _complete(value: Any, schema: Schema) -> Any:
    """Return a custom resource as the API server judges it.

    Fields with null are taken away, and defaults filled in.
    """
    if isinstance(value, Mapping):
        fields = schema.get("properties", {})
        other = schema.get("additionalProperties")
        given = {
            name: _complete(item, fields.get(name, other if isinstance(other, Mapping) else {}))
            for name, item in value.items()
            if item is not None
        }
        defaults = {
            name: _complete(field["default"], field)
            for name, field in fields.items()
            if "default" in field and name not in given
        }
        return {**given, **defaults}
    if isinstance(value, list) and not is_untyped(value):
        return [_complete(item, schema.get("items", {})) for item in value]
    return value
