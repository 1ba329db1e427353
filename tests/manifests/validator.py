"""Checks Kubernetes resources as the API server would: structure, unknown fields and CEL rules."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import celpy
import kubernetes_validate
import yaml
from celpy import celtypes
from jsonschema import Draft202012Validator

KUBERNETES_VERSION = "1.35"

_CRDS = Path(__file__).parent / "crds"
_CUSTOM_GROUPS = ("karpenter.sh/", "karpenter.k8s.aws/", "keda.sh/")

Schema = Mapping[str, Any]


def faults_of(resource: Mapping[str, Any]) -> list[str]:
    """Return what the API server would refuse in a resource.

    Args:
        resource: The resource, without unresolved tokens.
    """
    if not resource["apiVersion"].startswith(_CUSTOM_GROUPS):
        return _core_faults(resource)
    schema = _custom_schemas().get((resource["apiVersion"], resource["kind"]))
    if schema is None:
        return [f"there is no {resource['kind']} in {resource['apiVersion']}"]
    faults = [
        f"{'.'.join(map(str, error.absolute_path)) or 'root'}: {error.message}"
        for error in Draft202012Validator(_closed(schema, at_root=True)).iter_errors(resource)
    ]
    # As in the API server, rules run on what is well formed.
    return faults or list(_rule_faults(_with_defaults(schema, resource), schema, ""))


def _core_faults(resource: Mapping[str, Any]) -> list[str]:
    try:
        kubernetes_validate.validate(resource, KUBERNETES_VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{'.'.join(map(str, error.path))}: {error.message}"]
    return []


@cache
def _custom_schemas() -> dict[tuple[str, str], Schema]:
    schemas = {}
    for path in sorted(_CRDS.glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            schemas[key] = version["schema"]["openAPIV3Schema"]
    return schemas


def _closed(schema: Schema, *, at_root: bool = False) -> dict[str, Any]:
    """Return a structural schema as a JSON Schema that refuses unknown fields."""
    closed = {
        key: schema[key]
        for key in (
            "enum",
            "pattern",
            "minimum",
            "maximum",
            "minItems",
            "maxItems",
            "minLength",
            "maxLength",
            "minProperties",
            "maxProperties",
            "required",
        )
        if key in schema
    }
    if schema.get("x-kubernetes-int-or-string"):
        closed["type"] = ["integer", "string"]
    elif "type" in schema:
        closed["type"] = [schema["type"], "null"] if schema.get("nullable") else schema["type"]
    if "items" in schema:
        closed["items"] = _closed(schema["items"])
    if "properties" in schema:
        closed["properties"] = {
            name: {} if at_root and name == "metadata" else _closed(field)
            for name, field in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), Mapping):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed["additionalProperties"] = False
    return closed


def _with_defaults(schema: Schema, value: Any) -> Any:
    """Return a value with the defaults that the API server fills in."""
    if isinstance(value, Mapping):
        fields = schema.get("properties", {})
        filled = {
            name: field["default"]
            for name, field in fields.items()
            if "default" in field and name not in value
        }
        other = schema.get("additionalProperties")
        return {
            name: _with_defaults(
                fields.get(name, other if isinstance(other, Mapping) else {}), item
            )
            for name, item in {**value, **filled}.items()
        }
    if isinstance(value, list):
        return [_with_defaults(schema.get("items", {}), item) for item in value]
    return value


def _rule_faults(value: Any, schema: Schema, path: str) -> Iterator[str]:
    for rule in schema.get("x-kubernetes-validations", ()):
        # A rule about the former value is for updates.
        if "oldSelf" not in rule["rule"] and not _holds(rule["rule"], value):
            yield f"{path or 'root'}: {rule.get('message', rule['rule'])} [CEL]"
    if isinstance(value, Mapping):
        fields = schema.get("properties", {})
        other = schema.get("additionalProperties")
        for name, item in value.items():
            inner = fields.get(name, other if isinstance(other, Mapping) else None)
            if inner is not None:
                yield from _rule_faults(item, inner, f"{path}.{name}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _rule_faults(item, schema.get("items", {}), f"{path}[{index}]")


def _holds(rule: str, value: Any) -> bool:
    try:
        return bool(_program(rule).evaluate({"self": celpy.json_to_cel(value)}))
    except celpy.CELEvalError:
        # The API server refuses what a rule cannot be evaluated on.
        return False


@cache
def _program(rule: str) -> celpy.Runner:
    environment = celpy.Environment()
    return environment.program(
        environment.compile(rule), functions={"find": _find, "split": _split}
    )


def _find(text: celtypes.StringType, pattern: celtypes.StringType) -> celtypes.StringType:
    """Kubernetes' own string function: the first match of a pattern, or nothing."""
    match = re.search(str(pattern), str(text))
    return celtypes.StringType(match.group(0) if match else "")


def _split(text: celtypes.StringType, separator: celtypes.StringType) -> celtypes.ListType:
    """Kubernetes' own string function: the parts between separators."""
    return celtypes.ListType(
        [celtypes.StringType(part) for part in str(text).split(str(separator))]
    )
