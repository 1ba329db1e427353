"""Reads Kubernetes resources out of synthesised templates."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .token import readable, token, untyped_token

KUBERNETES_RESOURCE = "Custom::AWSCDK-EKS-KubernetesResource"
"""What a `KubernetesManifest` becomes in a template."""

_NESTED = ".nested.template.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """A resource of a template that applies Kubernetes resources.

    Attributes:
        logical_id: Its identifier in the template.
        resources: What it applies, with stand-ins for what is known only at deployment.
    """

    logical_id: str
    resources: tuple[dict[str, Any], ...]


class UnreadableManifest(Exception):
    """A manifest that is no list of Kubernetes resources.

    Attributes:
        logical_id: Identifier of the resource in the template.
    """

    def __init__(self, logical_id: str, reason: str) -> None:
        """Say what is wrong.

        Args:
            logical_id: Identifier of the resource in the template.
            reason: What is wrong with its manifest.
        """
        super().__init__(reason)
        self.logical_id = logical_id


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
        UnreadableManifest: If that is no list of Kubernetes resources.
    """
    text = joined_text(template["Resources"][logical_id]["Properties"]["Manifest"])
    try:
        documents = json.loads(text)
    except ValueError as error:
        raise UnreadableManifest(logical_id, f"is no JSON: {error}") from error
    resources = tuple(_each(documents if isinstance(documents, list) else [documents]))
    for resource in resources:
        if not _is_resource(resource):
            shown = json.dumps(readable(resource))[:80]
            raise UnreadableManifest(
                logical_id, f"holds {shown}, which lacks an apiVersion, a kind or metadata"
            )
    return Manifest(logical_id=logical_id, resources=resources)


def _each(documents: list[Any]) -> Iterator[Any]:
    for document in documents:
        if isinstance(document, dict) and document.get("kind") == "List":
            yield from document.get("items", ())
        else:
            yield document


def _is_resource(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("apiVersion"), str)
        and isinstance(value.get("kind"), str)
        and isinstance(value.get("metadata"), dict)
    )


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
