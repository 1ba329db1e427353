"""Reads Kubernetes manifests out of synthesised templates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

KUBERNETES_RESOURCE = "Custom::AWSCDK-EKS-KubernetesResource"

_PSEUDO_PARAMETERS = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "stack",
    "AWS::URLSuffix": "amazonaws.com",
}
_REFERENCES = {
    "AWS::EC2::Subnet": "subnet-0123456789abcdef0",
    "AWS::SQS::Queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/{}",
}
_ATTRIBUTES = {
    "ClusterSecurityGroupId": "sg-0123456789abcdef0",
    "Arn": "arn:aws:service:eu-west-1:123456789012:{}",
    "TopicArn": "arn:aws:sns:eu-west-1:123456789012:{}",
}

Template = Mapping[str, Any]


def manifests_of(*templates: Template) -> list[dict[str, Any]]:
    """Return every Kubernetes resource that templates apply, with tokens replaced by likely values.

    Args:
        *templates: Templates of all stacks of an app, so that imports can be resolved.
    """
    return [
        resource
        for template in templates
        for entry in template.get("Resources", {}).values()
        if entry["Type"] == KUBERNETES_RESOURCE
        for resource in json.loads(resolve(entry["Properties"]["Manifest"], template, *templates))
    ]


def manifest_of(kind: str, name: str, *templates: Template) -> dict[str, Any]:
    """Return one Kubernetes resource.

    Args:
        kind: Its kind.
        name: Its name.
        *templates: Templates of all stacks of an app.
    """
    (manifest,) = (
        each
        for each in manifests_of(*templates)
        if each["kind"] == kind and each["metadata"]["name"] == name
    )
    return manifest


def resolve(value: Any, template: Template, *others: Template) -> str:
    """Return a string of a template with likely values in place of references.

    Args:
        value: The string, or an intrinsic function that makes one.
        template: Template that holds it.
        *others: Templates whose exports it may import.
    """
    match value:
        case str():
            return value
        case {"Fn::Join": [delimiter, items]}:
            return str(delimiter).join(resolve(item, template, *others) for item in items)
        case {"Fn::Sub": str(text)}:
            return re.sub(r"\$\{([^}]+)\}", lambda match: _PSEUDO_PARAMETERS[match.group(1)], text)
        case {"Ref": name} if name in _PSEUDO_PARAMETERS:
            return _PSEUDO_PARAMETERS[name]
        case {"Ref": name}:
            kind = template["Resources"].get(name, {}).get("Type", "")
            return _REFERENCES.get(kind, "{}").format(name)
        case {"Fn::GetAtt": [name, attribute]}:
            return _ATTRIBUTES.get(attribute, "{}").format(name)
        case {"Fn::ImportValue": name}:
            return _imported(resolve(name, template, *others), others)
        case _:
            raise ValueError(f"cannot resolve {value!r}")


def _imported(name: str, templates: tuple[Template, ...]) -> str:
    for template in templates:
        for output in template.get("Outputs", {}).values():
            if output.get("Export", {}).get("Name") == name:
                return resolve(output["Value"], template, *templates)
    raise ValueError(f"nothing exports {name!r}")
