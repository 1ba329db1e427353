"""The schemas of the kinds that are known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .limits import with_limits

Schema = Mapping[str, Any]

_FOLDER = Path(__file__).parent / "schemas"

KUBERNETES_SCHEMAS = _FOLDER / "kubernetes.json"
"""The schemas of Kubernetes' own kinds, in one version of it."""

_OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

_CUSTOM_KINDS = {
    ("eks.amazonaws.com", "NodeClass"): "nodeclasses",
    ("karpenter.k8s.aws", "EC2NodeClass"): "ec2nodeclasses",
    ("karpenter.sh", "NodeOverlay"): "nodeoverlays",
    ("karpenter.sh", "NodePool"): "nodepools",
    ("keda.sh", "ClusterTriggerAuthentication"): "clustertriggerauthentications",
    ("keda.sh", "ScaledObject"): "scaledobjects",
    ("keda.sh", "TriggerAuthentication"): "triggerauthentications",
}
_CUSTOM_KINDS_WITHOUT_SCHEMA = {
    # What EKS Auto Mode has besides, and what only Karpenter itself makes.
    ("eks.amazonaws.com", "CNINode"),
    ("eks.amazonaws.com", "IngressClassParams"),
    ("eks.amazonaws.com", "NodeDiagnostic"),
    ("eks.amazonaws.com", "TargetGroupBinding"),
    ("karpenter.sh", "NodeClaim"),
    # Larger than all others together.
    ("keda.sh", "ScaledJob"),
}

_CONSTRAINTS = (
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


def kubernetes_version() -> str:
    """Return the version of Kubernetes whose own kinds are known."""
    return str(_kubernetes()["version"])


def core_definition(api_version: str, kind: str) -> str | None:
    """Return which definition describes a kind of Kubernetes' own, or None for another one.

    Args:
        api_version: API group and version of the kind.
        kind: The kind.
    """
    found: str | None = _kubernetes()["kinds"].get(f"{api_version}/{kind}")
    return found


@cache
def core_schema(definition: str) -> Schema:
    """Return the schema of a kind of Kubernetes' own. It refuses unknown fields.

    Args:
        definition: Which definition describes the kind.
    """
    return {"$ref": f"#/$defs/{definition}", "$defs": _kubernetes()["$defs"]}


def custom_schema(api_version: str, kind: str) -> Schema | None:
    """Return the schema of a custom resource as its definition has it, or None if it is not known.

    Args:
        api_version: API group and version of the kind.
        kind: The kind.
    """
    group, _, version = api_version.partition("/")
    if (group, kind) not in _CUSTOM_KINDS:
        return None
    return _custom_schemas(group, kind).get(version)


@cache
def _custom_schemas(group: str, kind: str) -> dict[str, Schema]:
    import yaml

    # The parser in C, where there is one, is ten times as fast.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = (_FOLDER / f"{group}_{_CUSTOM_KINDS[group, kind]}.yaml").read_text("utf-8")
    return {
        served["name"]: served["schema"]["openAPIV3Schema"]
        for served in yaml.load(text, Loader=loader)["spec"]["versions"]
    }


def api_versions_of(kind: str) -> list[str]:
    """Return the API groups and versions that are known to have a kind.

    Args:
        kind: The kind.
    """
    own = [name.rpartition("/") for name in _kubernetes()["kinds"]]
    return [
        *(api_version for api_version, _, known in own if known == kind),
        *(
            f"{group}/{version}"
            for group, known in _CUSTOM_KINDS
            if known == kind
            for version in _custom_schemas(group, known)
        ),
    ]


def kinds_of(api_version: str) -> list[str]:
    """Return the kinds that an API group and version is known to have.

    Args:
        api_version: API group and version.
    """
    own = [name.rpartition("/") for name in _kubernetes()["kinds"]]
    group = api_version.partition("/")[0]
    return [
        *(kind for known, _, kind in own if known == api_version),
        *(kind for known, kind in _CUSTOM_KINDS if known == group),
    ]


def is_known_to_be_missing(api_version: str, kind: str) -> bool:
    """Tell whether a kind that has no schema is one that its API group does not have.

    Args:
        api_version: API group and version of the kind.
        kind: The kind.
    """
    group = api_version.rpartition("/")[0]
    if group in {known for known, _ in _CUSTOM_KINDS}:
        return (group, kind) not in _CUSTOM_KINDS_WITHOUT_SCHEMA
    return group in {name.rpartition("/")[0].rpartition("/")[0] for name in _kubernetes()["kinds"]}


def closed(schema: Schema) -> dict[str, Any]:
    """Return the schema of a custom resource as a JSON Schema that refuses unknown fields.

    Args:
        schema: The schema as its definition has it.
    """
    root = _closed(schema)
    root["properties"]["metadata"] = {"$ref": f"#/$defs/{_OBJECT_META}"}
    return {**root, "$defs": _kubernetes()["$defs"]}


def _closed(schema: Schema) -> dict[str, Any]:
    result = {key: schema[key] for key in _CONSTRAINTS if key in schema}
    if schema.get("x-kubernetes-int-or-string"):
        result["type"] = ["integer", "string"]
    elif "type" in schema:
        result["type"] = [schema["type"], "null"] if schema.get("nullable") else schema["type"]
    if "items" in schema:
        result["items"] = _closed(schema["items"])
    if "properties" in schema:
        result["properties"] = {
            name: _closed(field) for name, field in schema["properties"].items()
        }
    if isinstance(schema.get("additionalProperties"), Mapping):
        result["additionalProperties"] = _closed(schema["additionalProperties"])
    elif "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        result["additionalProperties"] = False
    return result


@cache
def _kubernetes() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(KUBERNETES_SCHEMAS.read_text("utf-8"))
    return {**found, "$defs": with_limits(found["$defs"])}
