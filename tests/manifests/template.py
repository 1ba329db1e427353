"""Reads Kubernetes resources out of synthesised templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdk_stable_diffusion.validation.template import manifest_ids, read_manifest
from cdk_stable_diffusion.validation.token import readable

Template = Mapping[str, Any]


def manifests_of(*templates: Template) -> list[dict[str, Any]]:
    """Return every Kubernetes resource that templates apply, as `faults_of` takes it.

    Args:
        *templates: The templates.
    """
    manifests = [
        read_manifest(template, logical_id)
        for template in templates
        for logical_id in manifest_ids(template)
    ]
    assert [fault for each in manifests for fault in each.faults] == []
    return [resource for each in manifests for resource in each.resources]


def manifest_of(kind: str, name: str, *templates: Template) -> dict[str, Any]:
    """Return one Kubernetes resource; references in it are written as ``${Queue.Arn}``.

    Args:
        kind: Its kind.
        name: Its name.
        *templates: The templates.
    """
    (manifest,) = (
        each
        for each in manifests_of(*templates)
        if each["kind"] == kind and each["metadata"]["name"] == name
    )
    found: dict[str, Any] = readable(manifest)
    return found
