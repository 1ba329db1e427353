"""Reads Kubernetes resources out of synthesised templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fault import Fault, field_path
from .token import is_untyped, readable, token, untyped_token

KUBERNETES_RESOURCE = "Custom::AWSCDK-EKS-KubernetesResource"
"""What a `KubernetesManifest` becomes in a template."""

_NESTED = ".nested.template.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A resource of a template that applies Kubernetes resources.

    Attributes:
        resources: What it applies, with stand-ins for what is known only at deployment.
        faults: What it holds besides, which is no Kubernetes resource.
    """

    resources: tuple[dict[str, Any], ...]
    faults: tuple[Fault, ...]


class UnreadableManifest(Exception):
    """A manifest that is no JSON."""


def with_nested(path: Path) -> list[Path]:
    """Return the template of a stack with those of the stacks nested in it.

    Args:
        path: The stack's template, in its cloud assembly.
    """
    assets = path.with_name(path.name.replace(".template.json", ".assets.json"))
    if not assets.exists() or assets == path:
        return [path]
    sources = [each["source"] for each in json.loads(assets.read_text("utf-8"))["files"].values()]
    names = [str(source.get("path")) for source in sources]
    return [path, *(path.with_name(name) for name in names if name.endswith(_NESTED))]


def manifest_ids(template: Mapping[str, Any]) -> list[str]:
    """Return the identifiers of all resources of a template that apply Kubernetes resources.

    Args:
        template: The template.
    """
    return [
        logical_id
        for logical_id, entry in template.get("Resources", {}).items()
        if entry.get("Type") == KUBERNETES_RESOURCE
    ]


def read_manifest(template: Mapping[str, Any], logical_id: str) -> Manifest:
    """Return what a resource of a template applies.

    Args:
        template: The template.
        logical_id: The resource.

    Raises:
        UnreadableManifest: If that is no JSON.
    """
    text = joined_text(template["Resources"][logical_id]["Properties"]["Manifest"])
    try:
        whole = json.loads(text)
    except ValueError as error:
        raise UnreadableManifest(f"is no JSON: {error}") from error
    documents = [
        found
        for index, each in enumerate(whole if isinstance(whole, list) else [whole])
        for found in _each(each, ("Manifest", index))
    ]
    return Manifest(
        resources=tuple(document for _, document in documents if not _lacks(document)),
        faults=tuple(
            Fault(field=field_path(path), says=_says(document))
            for path, document in documents
            if _lacks(document)
        ),
    )


def _each(document: Any, path: tuple[object, ...]) -> Iterator[tuple[tuple[object, ...], Any]]:
    """Yield the resource that a document is, or all those of a list, and where they are."""
    kind = str(document.get("kind")) if isinstance(document, dict) else ""
    items = document.get("items") if kind.endswith("List") else None
    if isinstance(items, list):
        # There are lists of a kind, too: the items of a ConfigMapList need not say what they are.
        of = kind.removesuffix("List")
        inferred = {"apiVersion": document.get("apiVersion"), "kind": of} if of else {}
        for index, item in enumerate(items):
            whole = {**inferred, **item} if isinstance(item, dict) else item
            yield from _each(whole, (*path, "items", index))
    elif not is_untyped(items):
        yield path, document


def _lacks(document: Any) -> list[str]:
    """Return what makes a document no Kubernetes resource."""
    fields = document if isinstance(document, dict) else {}
    return [
        *([] if isinstance(fields.get("apiVersion"), str) else ["an apiVersion"]),
        *([] if isinstance(fields.get("kind"), str) else ["a kind"]),
        *([] if isinstance(fields.get("metadata"), dict) else ["metadata"]),
    ]


def _says(document: Any) -> str:
    shown = json.dumps(readable(document))[:80]
    return f"is {shown}, which lacks {' and '.join(_lacks(document))}"


def joined_text(value: Any) -> str:
    """Return a JSON text of a template, with a stand-in for every reference.

    The AWS CDK writes such a text as one string, or as a join of its parts and of what is between
    them. What is between two quotes is a string, or a part of one; all else has a type that is not
    known.

    Args:
        value: The text, as the template has it.
    """
    text = ""
    in_string = False
    for part in _parts(value):
        if isinstance(part, str):
            text += part
            in_string = _ends_in_string(part, in_string)
        elif in_string:
            text += token(_name(part))
        else:
            text += f'"{untyped_token(_name(part))}"'
    return text


def _parts(value: Any) -> Iterator[Any]:
    match value:
        case {"Fn::Join": [str(delimiter), list(items)]}:
            for index, item in enumerate(items):
                if index and delimiter:
                    yield delimiter
                yield from _parts(item)
        case _:
            yield value


def _ends_in_string(text: str, in_string: bool) -> bool:
    """Tell whether a part of a JSON text ends between two quotes."""
    escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = in_string
        elif character == '"':
            in_string = not in_string
    return in_string


def _name(reference: Any) -> str:
    """Return what a reference is called in messages."""
    match reference:
        case {"Ref": str(name)}:
            return name
        case {"Fn::GetAtt": [str(name), str(attribute)]}:
            return f"{name}.{attribute}"
        case {"Fn::GetAtt": str(name)}:
            return name
        case {"Fn::ImportValue": str(name)}:
            return name
        case {**function} if len(function) == 1:
            return str(*function)
        case _:
            return "value"
