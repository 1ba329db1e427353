"""Checks a Kubernetes resource as the API server would, before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .cel import rule_faults
from .fault import Fault
from .missing import missing_kind
from .names import name_faults
from .rules import own_rule_faults
from .schema import Schema, closed, core_definition, core_schema, custom_schema
from .structure import structure_faults
from .token import is_untyped


def is_known(resource: Mapping[str, Any]) -> bool:
    """Tell whether a resource can be judged.

    It can if there is a schema of its kind, or there is known to be no such kind.

    Args:
        resource: The resource.
    """
    api_version, kind = resource["apiVersion"], resource["kind"]
    return (
        core_definition(api_version, kind) is not None
        or custom_schema(api_version, kind) is not None
        or missing_kind(api_version, kind) is not None
    )


def faults_of(resource: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with a resource: nothing where its kind is not known.

    Args:
        resource: The resource, with stand-ins for what is known only at deployment.

    Returns:
        What its schema and the rules of this library refuse. The rules of a custom resource are for
        what is well formed: they come only where its schema refuses nothing.
    """
    api_version, kind = resource["apiVersion"], resource["kind"]
    definition = core_definition(api_version, kind)
    if definition is not None:
        return [*structure_faults(resource, core_schema(definition)), *_others(resource)]
    schema = custom_schema(api_version, kind)
    if schema is not None:
        complete = _complete(resource, schema)
        faults = list(structure_faults(complete, closed(schema)))
        return [*(faults or rule_faults(complete, schema)), *_others(complete)]
    missing = missing_kind(api_version, kind)
    return [] if missing is None else [missing]


def _others(resource: Mapping[str, Any]) -> list[Fault]:
    return [*name_faults(resource), *own_rule_faults(resource)]


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
