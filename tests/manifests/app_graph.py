"""Which resource of an app waits for which, also across its stacks.

CloudFormation makes a resource when all that it waits for is there, and deletes in the reverse
order; a stack that imports from another one, or depends on it, is made after it and goes first.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aws_cdk import App, cx_api

from cdk_stable_diffusion.validation.template import manifest_ids, read_manifest
from cdk_stable_diffusion.validation.token import readable
from tests.manifests.graph import DependencyGraph

HELM_CHART = "Custom::AWSCDK-EKS-HelmChart"
KUBERNETES = "Custom::AWSCDK-EKS-KubernetesResource"


@dataclass(frozen=True, order=True, slots=True)
class Node:
    """A resource of an app.

    Attributes:
        stack: Its stack.
        name: Its identifier in the template of the stack.
    """

    stack: str
    name: str


class AppGraph:
    """The resources of all stacks of an app."""

    def __init__(self, app: App) -> None:
        """Synthesise the app."""
        directory = Path(app.synth().directory)
        stacks = {each.stack_name: each for each in cx_api.CloudAssembly(str(directory)).stacks}
        self._templates: dict[str, dict[str, Any]] = {
            name: json.loads((directory / stack.template_file).read_text())
            for name, stack in stacks.items()
        }
        self._graphs = {name: DependencyGraph(each) for name, each in self._templates.items()}
        self._before = {
            name: {
                other.stack_name
                for other in stack.dependencies
                if isinstance(other, cx_api.CloudFormationStackArtifact)
            }
            for name, stack in stacks.items()
        }

    @property
    def nodes(self) -> Iterator[Node]:
        """Every resource."""
        for stack, template in self._templates.items():
            for name in template["Resources"]:
                yield Node(stack, name)

    def waits_for(self, node: Node) -> set[Node]:
        """Return all that must exist before a resource, and is deleted after it."""
        found = {Node(node.stack, name) for name in self._graphs[node.stack].waits_for(node.name)}
        for stack in self._stacks_before(node.stack):
            found |= {Node(stack, name) for name in self._templates[stack]["Resources"]}
        return found

    def _stacks_before(self, stack: str) -> set[str]:
        seen: set[str] = set()
        waiting = [stack]
        while waiting:
            for other in self._before[waiting.pop()] - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    def resource(self, node: Node) -> dict[str, Any]:
        """Return a resource as its template has it."""
        found: dict[str, Any] = self._templates[node.stack]["Resources"][node.name]
        return found

    def properties(self, node: Node) -> dict[str, Any]:
        """Return the properties of a resource."""
        return dict(self.resource(node).get("Properties", {}))

    def of_type(self, *kinds: str) -> list[Node]:
        """Return all resources of some types."""
        return [node for node in self.nodes if self.resource(node)["Type"] in kinds]

    def manifests(self, *kinds: str) -> dict[Node, dict[str, Any]]:
        """Return the Kubernetes resources of some kinds; each is the only one of its manifest."""
        found = {}
        for stack, template in self._templates.items():
            for name in manifest_ids(template):
                (resource,) = read_manifest(template, name).resources
                if resource["kind"] in kinds:
                    found[Node(stack, name)] = readable(resource)
        return found

    def manifest(self, kind: str, name: str) -> Node:
        """Return where a Kubernetes resource is applied."""
        (found,) = (
            node for node, it in self.manifests(kind).items() if it["metadata"]["name"] == name
        )
        return found

    def targets(self, stack: str, value: Any) -> set[Node]:
        """Return all resources that a value refers to, also those of other stacks."""
        found: set[Node] = set()
        if isinstance(value, list):
            for item in value:
                found |= self.targets(stack, item)
        if not isinstance(value, Mapping):
            return found
        match value:
            case {"Ref": str(name)} if name in self._templates[stack]["Resources"]:
                return {Node(stack, name)}
            case {"Fn::GetAtt": [str(name), *_]}:
                return {Node(stack, name)}
            case {"Fn::ImportValue": str(export)}:
                return self._exported(export)
        for item in value.values():
            found |= self.targets(stack, item)
        return found

    def _exported(self, export: str) -> set[Node]:
        for stack, template in self._templates.items():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == export:
                    return self.targets(stack, output["Value"])
        raise ValueError(f"nothing exports {export!r}")

    def referred_by(self, node: Node, *path: str) -> set[Node]:
        """Return all resources that a property of a resource refers to."""
        value: Any = self.properties(node)
        for name in path:
            value = value.get(name, {})
        return self.targets(node.stack, value)
