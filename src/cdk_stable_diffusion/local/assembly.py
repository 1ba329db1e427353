"""Read what a CDK app wrote: its stacks in the order to deploy them, and their file assets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import LocalError


@dataclass(frozen=True, kw_only=True, slots=True)
class FileAsset:
    """A file or directory that a stack needs in S3.

    Attributes:
        path: The file or directory.
        is_directory: Whether it is a directory, to be stored as a ZIP file.
        bucket: Bucket, with placeholders for account and region filled in.
        key: Key in that bucket.
    """

    path: Path
    is_directory: bool
    bucket: str
    key: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """A stack of an app.

    Attributes:
        name: Its name.
        template: Its template.
        assets: Its file assets, the template's own file among them.
        bootstrap_parameter: SSM parameter in which bootstrapping leaves its version, if any.
    """

    name: str
    template: dict[str, Any]
    assets: tuple[FileAsset, ...]
    bootstrap_parameter: str | None


def read_assembly(directory: Path, placeholders: Mapping[str, str]) -> list[Stack]:
    """Return the stacks of a cloud assembly, each after those that it depends on.

    Args:
        directory: The assembly.
        placeholders: Values for the placeholders in assets' locations.

    Raises:
        LocalError: If there is no stack.
    """
    stacks = _stacks(directory, placeholders)
    if not stacks:
        raise LocalError("the app has no stack")
    return stacks


def _stacks(directory: Path, placeholders: Mapping[str, str]) -> list[Stack]:
    artifacts = _json(directory / "manifest.json").get("artifacts", {})
    stacks = []
    for artifact_id in _in_order(artifacts):
        artifact = artifacts[artifact_id]
        properties = artifact.get("properties", {})
        if artifact["type"] == "cdk:cloud-assembly":
            stacks += _stacks(directory / properties["directoryName"], placeholders)
        elif artifact["type"] == "aws:cloudformation:stack":
            stacks.append(
                Stack(
                    name=properties.get("stackName", artifact_id),
                    template=_json(directory / properties["templateFile"]),
                    assets=tuple(
                        asset
                        for each in artifact.get("dependencies", ())
                        if artifacts[each]["type"] == "cdk:asset-manifest"
                        for asset in _assets(
                            directory / artifacts[each]["properties"]["file"], placeholders
                        )
                    ),
                    bootstrap_parameter=properties.get("bootstrapStackVersionSsmParameter"),
                )
            )
    return stacks


def _in_order(artifacts: Mapping[str, Any]) -> list[str]:
    """Return the artifacts' ids, each after its dependencies."""
    ordered: dict[str, None] = {}

    def visit(artifact_id: str) -> None:
        if artifact_id not in ordered and artifact_id in artifacts:
            for each in artifacts[artifact_id].get("dependencies", ()):
                visit(each)
            ordered[artifact_id] = None

    for artifact_id in artifacts:
        visit(artifact_id)
    return list(ordered)


def _assets(file: Path, placeholders: Mapping[str, str]) -> list[FileAsset]:
    return [
        FileAsset(
            path=file.parent / entry["source"]["path"],
            is_directory=entry["source"].get("packaging") == "zip",
            bucket=_filled(destination["bucketName"], placeholders),
            key=_filled(destination["objectKey"], placeholders),
        )
        for entry in _json(file).get("files", {}).values()
        # An asset made by a command has no path; none of the library's is.
        if "path" in entry["source"]
        for destination in entry["destinations"].values()
    ]


def _filled(text: str, placeholders: Mapping[str, str]) -> str:
    for name, value in placeholders.items():
        text = text.replace(f"${{{name}}}", value)
    return text


def _json(file: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return value
