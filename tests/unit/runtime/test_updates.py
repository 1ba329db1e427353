"""An update changes what it must, and nothing that runs beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import Duration, Size

from cdk_stable_diffusion.cluster import Priority
from cdk_stable_diffusion.runtime import (
    Capacity,
    GpuNodes,
    ImageStart,
    Model,
    RuntimeImage,
    Scaling,
    SdNodePool,
)
from tests.manifests.compose import Template
from tests.unit.runtime.light_cluster import light_service

OTHER_IMAGE = RuntimeImage.from_registry(f"registry.example/agent@sha256:{'1' * 64}")
SNAPSHOT = ImageStart.snapshot("snap-0123456789abcdef0", volume=Size.gibibytes(60))
OTHER_SNAPSHOT = ImageStart.snapshot("snap-0fedcba9876543210", volume=Size.gibibytes(60))


def template(**arguments: Any) -> Template:
    """Return the template of a service with one runtime as told, and another beside it."""
    service = light_service(region="eu-west-1")
    service.add_runtime("Sdxl", **arguments)
    service.add_runtime("Other", Model.static("other"))
    return service.template()


def changed(before: Template, after: Template) -> dict[str, str]:
    """Return what CloudFormation would do with each resource that differs, by path."""
    old, new = before["Resources"], after["Resources"]
    found = {}
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            path = (new.get(name) or old[name])["Metadata"]["aws:cdk:path"]
            place = path.removeprefix("Service/").removesuffix("/Resource/Default")
            done = "remove" if name not in new else "add" if name not in old else "update"
            found[place.removesuffix("/Resource")] = done
    return found


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"image": OTHER_IMAGE}, {"Sdxl/Deployment": "update"}),
        ({}, {"priority": Priority.HIGH}, {"Sdxl/Deployment": "update"}),
        (
            {},
            {"scaling": Scaling(target_latency=Duration.seconds(30))},
            {"Sdxl/ScaledObject": "update"},
        ),
        (
            {},
            {"scaling": Scaling(max_replicas=20)},
            {"Sdxl/ScaledObject": "update", "Sdxl/Pool/NodePool": "update"},
        ),
        (
            {},
            {"scaling": Scaling(max_replicas=20), "nodes": GpuNodes(max_gpus=10)},
            {"Sdxl/ScaledObject": "update"},
        ),
        ({}, {"nodes": GpuNodes(max_gpus=3)}, {"Sdxl/Pool/NodePool": "update"}),
        ({}, {"nodes": GpuNodes(zones=("eu-west-1a",))}, {"Sdxl/Pool/NodePool": "update"}),
        (
            {},
            {"nodes": GpuNodes(capacity=Capacity.ON_DEMAND)},
            {"Sdxl/Pool/NodePool": "update", "Sdxl/PodDisruptionBudget": "add"},
        ),
        (
            {"nodes": GpuNodes(image_start=SNAPSHOT)},
            {"nodes": GpuNodes(image_start=OTHER_SNAPSHOT)},
            {"Sdxl/Pool/NodeClass": "update"},
        ),
        (
            {},
            {"nodes": GpuNodes(image_start=SNAPSHOT)},
            {"Sdxl/Pool/NodeClass": "update", "Sdxl/Pool/NodePool": "update"},
        ),
        (
            {},
            {"longest_task": Duration.minutes(6)},
            {"Sdxl/Deployment": "update", "Sdxl/Queue": "update"},
        ),
        (
            {},
            {"model_cache_gibibytes": 150},
            {"Sdxl/Deployment": "update", "Sdxl/Pool/NodePool": "update"},
        ),
    ],
)
def test_changes_only(
    before: dict[str, Any], after: dict[str, Any], expected: dict[str, str]
) -> None:
    assert changed(template(**before), template(**after)) == expected


def test_a_new_name_removes_what_has_the_old_one() -> None:
    found = changed(template(), template(name="turbo"))
    named = (
        *("Deployment", "ServiceAccount", "ScaledObject", "TriggerAuthentication"),
        *("Pool/NodePool", "Pool/NodeClass"),
    )
    before, after = template()["Resources"], template(name="turbo")["Resources"]
    for place in named:
        (old,) = logical_ids(before, place)
        (new,) = logical_ids(after, place)
        assert old not in after
        assert new not in before
    assert found["Sdxl/Association"] == "update"
    assert not any(place.startswith("Other/") for place in found)


def test_a_new_name_of_a_pool_removes_the_old_one() -> None:
    def with_pool(name: str) -> dict[str, Any]:
        service = light_service(region="eu-west-1")
        nodes = GpuNodes(max_gpus=1)
        SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=nodes, name=name)
        return dict(service.template()["Resources"])

    before, after = with_pool("a-b"), with_pool("ab")
    for place in ("NodePool", "NodeClass"):
        assert logical_ids(before, place) != logical_ids(after, place)


def logical_ids(resources: dict[str, Any], place: str) -> list[str]:
    """Return the logical ids of the resources of a runtime, or a pool, at a place in it."""
    ends = tuple(f"/{owner}/{place}/Resource/Default" for owner in ("Sdxl", "Gpus"))
    return [
        name for name, each in resources.items() if each["Metadata"]["aws:cdk:path"].endswith(ends)
    ]


def test_an_image_in_an_own_snapshot_is_built_anew_before_its_nodes_and_pods() -> None:
    def with_image(image: RuntimeImage) -> Template:
        return template(image=image, nodes=GpuNodes(image_start=ImageStart.snapshot()))

    first = RuntimeImage.from_registry(f"registry.example/agent@sha256:{'2' * 64}")
    found = changed(with_image(first), with_image(OTHER_IMAGE))
    # The node class names the snapshot by a reference, whose value is the new one.
    assert set(found) == {"Sdxl/Deployment", "Sdxl/ImageCache/Snapshot/Default"}


@pytest.mark.parametrize(
    "add",
    [
        lambda service: service.add_runtime("Third", Model.static("third")),
        lambda service: service.add_runtime("Any", Model.dynamic()),
    ],
    ids=["static", "dynamic"],
)
def test_another_runtime_changes_nothing_in_the_cluster(
    add: Callable[[Any], Any],
) -> None:
    def with_others(*others: Callable[[Any], Any]) -> Template:
        service = light_service(region="eu-west-1")
        service.add_runtime("Sdxl")
        for each in others:
            each(service)
        return service.template()

    found = changed(with_others(), with_others(add))
    assert {place: done for place, done in found.items() if place.startswith("Sdxl/")} == {}
    assert {place for place, done in found.items() if done == "remove"} == set()
    updated = {place for place, done in found.items() if done == "update"}
    assert not any(place.startswith("Cluster/Karpenter") for place in updated)


def test_the_same_app_synthesises_to_the_same() -> None:
    assert changed(template(), template()) == {}
