"""Filter policies are right whichever order runtimes are added in, also across stacks."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from aws_cdk import Stack

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import SdEksCluster
from cdk_stable_diffusion.runtime import Model, SdRuntime
from tests.manifests.compose import (
    IMAGE,
    Template,
    new_app,
    new_service,
    properties,
    templates_of,
)
from tests.manifests.template import manifests_of
from tests.manifests.validator import faults_of

MODELS = {
    "Sdxl": Model.static("sdxl", "sdxl-turbo"),
    "Flux": Model.static("flux"),
    "Any": Model.dynamic(),
}
LANES = 16
ANY: list[dict[str, Any]] = [
    {
        "runtime": ["any"],
        "lane": [{"numeric": ["=", 0]}, {"numeric": [">=", LANES]}, {"exists": False}],
    },
    *({"runtime": ["any"], "lane": [{"numeric": ["=", lane]}]} for lane in range(1, LANES)),
]
POLICIES = [*ANY, {"runtime": ["flux"]}, {"runtime": ["sdxl"]}]


def filter_policies(template: Template) -> list[dict[str, Any]]:
    found = [each["FilterPolicy"] for each in properties(template, "AWS::SNS::Subscription")]
    return sorted(found, key=lambda policy: (policy["runtime"], POLICIES.index(policy)))


@pytest.mark.parametrize("order", list(itertools.permutations(MODELS)), ids="-".join)
def test_every_order_in_one_stack(order: tuple[str, ...]) -> None:
    service = new_service()
    for id in order:
        service.add_runtime(id, MODELS[id])
    assert filter_policies(service.template()) == POLICIES


def test_one_lane_is_a_plain_queue() -> None:
    service = new_service()
    service.add_runtime("Any", Model.dynamic(lanes=1))
    (policy,) = properties(service.template(), "AWS::SNS::Subscription")
    assert policy["FilterPolicy"] == {"runtime": ["any"]}


@pytest.mark.parametrize("cluster_first", [True, False], ids=["cluster-first", "api-first"])
@pytest.mark.parametrize("dynamic_first", [True, False], ids=["dynamic-first", "static-first"])
def test_every_order_across_stacks(cluster_first: bool, dynamic_first: bool) -> None:
    app = new_app()
    stacks = {name: Stack(app, name) for name in ("Runtimes", "Cluster", "Api")}
    if cluster_first:
        cluster = SdEksCluster(stacks["Cluster"], "Cluster")
        api = SdApi(stacks["Api"], "Api")
    else:
        api = SdApi(stacks["Api"], "Api")
        cluster = SdEksCluster(stacks["Cluster"], "Cluster")
    for id in sorted(MODELS, reverse=not dynamic_first):
        SdRuntime(stacks["Runtimes"], id, api=api, cluster=cluster, model=MODELS[id], image=IMAGE)
    templates = templates_of(app)
    assert filter_policies(templates["Runtimes"]) == POLICIES
    assert depends_on(stacks["Runtimes"]) == {"Api", "Cluster"}
    assert depends_on(stacks["Api"]) == depends_on(stacks["Cluster"]) == set()
    assert [fault for each in manifests_of(*templates.values()) for fault in faults_of(each)] == []


def test_a_stack_for_each_runtime() -> None:
    app = new_app()
    base = Stack(app, "Base")
    api = SdApi(base, "Api")
    cluster = SdEksCluster(base, "Cluster")
    for id, model in MODELS.items():
        SdRuntime(Stack(app, id), id, api=api, cluster=cluster, model=model, image=IMAGE)
    templates = templates_of(app)
    found = [each for id in ("Any", "Flux", "Sdxl") for each in filter_policies(templates[id])]
    assert found == POLICIES


def depends_on(stack: Stack) -> set[str]:
    return {other.stack_name for other in stack.dependencies}
