"""Composes whole services for tests, and reads what they synthesise to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack, cx_api

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import SdEksCluster
from cdk_stable_diffusion.observability import SdObservability
from cdk_stable_diffusion.runtime import Model, RuntimeImage, SdRuntime

Template = dict[str, Any]
Resource = dict[str, Any]

IMAGE = RuntimeImage.from_registry(f"registry.example/agent@sha256:{'0' * 64}")
"""A published image, so that no asset has to be staged."""


@dataclass(frozen=True)
class Service:
    """An API and a cluster in one stack, to add runtimes to."""

    app: App
    stack: Stack
    api: SdApi
    cluster: SdEksCluster

    def add_runtime(self, id: str, model: Model, **arguments: Any) -> SdRuntime:
        return SdRuntime(
            self.stack,
            id,
            api=self.api,
            cluster=self.cluster,
            model=model,
            **{"image": IMAGE, **arguments},
        )

    def template(self) -> Template:
        (template,) = templates_of(self.app).values()
        return template


def new_app() -> App:
    """Return an app whose templates tell the construct of each resource, as with the CDK CLI."""
    return App(context={"aws:cdk:enable-path-metadata": True})


def new_service() -> Service:
    app = new_app()
    stack = Stack(app, "Service")
    return Service(app, stack, SdApi(stack, "Api"), SdEksCluster(stack, "Cluster"))


@cache
def quickstart() -> Template:
    """Return the template of a service with all there is: two runtimes and observability."""
    service = new_service()
    service.api.add_result_queue("Results")
    service.add_runtime("TinyShapes", Model.static("tiny-shapes"))
    service.add_runtime("AnyModel", Model.dynamic())
    SdObservability(service.stack, "Observability", api=service.api)
    return service.template()


@cache
def cluster_alone() -> Template:
    """Return the template of a cluster without runtimes."""
    app = new_app()
    SdEksCluster(Stack(app, "Service"), "Cluster")
    (template,) = templates_of(app).values()
    return template


def templates_of(app: App) -> dict[str, Template]:
    """Synthesise an app and return its templates by stack."""
    directory = Path(app.synth().directory)
    assembly = cx_api.CloudAssembly(str(directory))
    return {
        stack.stack_name: json.loads((directory / stack.template_file).read_text())
        for stack in assembly.stacks
    }


def resources(template: Template, kind: str) -> list[Resource]:
    """Return every resource of a type."""
    return [each for each in template["Resources"].values() if each["Type"] == kind]


def properties(template: Template, kind: str) -> list[dict[str, Any]]:
    """Return the properties of every resource of a type."""
    return [each["Properties"] for each in resources(template, kind)]


def statements(template: Template) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return every statement of every identity policy, with the identifier of its resource."""
    for name, resource in template["Resources"].items():
        given = resource["Properties"] if "Properties" in resource else {}
        documents = [policy["PolicyDocument"] for policy in given.get("Policies", ())]
        if resource["Type"] in ("AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"):
            documents.append(given["PolicyDocument"])
        for document in documents:
            for statement in _parsed(document)["Statement"]:
                yield name, statement


def _parsed(document: Any) -> dict[str, Any]:
    """Return a policy document, also one that is written as a JSON string."""
    if "Fn::Join" not in document:
        return dict(document)
    delimiter, items = document["Fn::Join"]
    text = delimiter.join(item if isinstance(item, str) else _reference(item) for item in items)
    return dict(json.loads(text))


def _reference(value: dict[str, Any]) -> str:
    ((_, target),) = value.items()
    return f"<{'.'.join(target) if isinstance(target, list) else target}>"


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
