"""Several runtimes, pools, clusters and stacks in one app do not get in each other's way."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import Any

import pytest
from aws_cdk import App, Stack

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import RuntimeCluster, SdEksCluster
from cdk_stable_diffusion.runtime import Capacity, GpuNodes, Model, Scaling, SdNodePool, SdRuntime
from tests.manifests.app_graph import KUBERNETES, AppGraph
from tests.manifests.compose import IMAGE, new_app
from tests.manifests.template import manifests_of
from tests.unit.runtime.light_cluster import invalid_manifests, light_service

MODELS = {"Sdxl": Model.static("sdxl"), "Flux": Model.static("flux"), "Any": Model.dynamic()}


def runtime(stack: Stack, id: str, api: SdApi, cluster: RuntimeCluster, **given: Any) -> SdRuntime:
    return SdRuntime(
        stack, id, api=api, cluster=cluster, **{"model": MODELS[id], "image": IMAGE, **given}
    )


def applied(app: App) -> Counter[tuple[object, ...]]:
    """Count the Kubernetes resources of an app by cluster, kind, namespace and name.

    Stacks that need each other in a circle would be refused when it is synthesised.
    """
    graph = AppGraph(app)
    found: Counter[tuple[object, ...]] = Counter()
    for node in graph.of_type(KUBERNETES):
        resource = graph.resource(node)
        template = {"Resources": {node.name: resource}}
        assert invalid_manifests(template) == {}
        named = resource["Properties"]["ClusterName"]
        cluster = named if isinstance(named, str) else min(graph.targets(node.stack, named))
        for each in manifests_of(template):
            metadata = each["metadata"]
            found[cluster, each["kind"], metadata.get("namespace"), metadata["name"]] += 1
    return found


def assert_sound(app: App) -> list[tuple[object, ...]]:
    """Check that nothing in the cluster of one runtime or pool has the name of another's."""
    found = applied(app)
    assert {name: times for name, times in found.items() if times > 1} == {}
    return list(found)


def named(found: list[tuple[object, ...]], kind: str) -> list[object]:
    """Return the names of all resources of a kind."""
    return sorted((name for _, of, _, name in found if of == kind), key=str)


def depends_on(stack: Stack) -> set[str]:
    return {other.stack_name for other in stack.dependencies}


class TestOneCluster:
    @pytest.mark.parametrize("ids", [("Sdxl", "Flux"), ("Sdxl", "Flux", "Any")], ids="-".join)
    def test_several_runtimes(self, ids: tuple[str, ...]) -> None:
        service = light_service()
        for id in ids:
            service.add_runtime(id, MODELS[id])
        found = assert_sound(service.app)
        for kind in ("Deployment", "ScaledObject", "NodePool", "EC2NodeClass", "ServiceAccount"):
            assert named(found, kind) == sorted(id.lower() for id in ids)

    @pytest.mark.parametrize("order", list(itertools.permutations(MODELS)), ids="-".join)
    def test_runtimes_with_and_without_a_shared_pool(self, order: tuple[str, ...]) -> None:
        service = light_service()
        nodes = GpuNodes(max_gpus=4, capacity=Capacity.ON_DEMAND)
        pool = SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=nodes)
        for id in order:
            shared = {} if id == "Flux" else {"nodes": pool}
            service.add_runtime(id, MODELS[id], scaling=Scaling(max_replicas=4), **shared)
        found = assert_sound(service.app)
        assert named(found, "NodePool") == ["flux", "gpus"]
        assert named(found, "PodDisruptionBudget") == ["any", "sdxl"]

    def test_two_shared_pools(self) -> None:
        service = light_service()
        pools = [
            SdNodePool(
                service.stack,
                id,
                cluster=service.cluster,
                nodes=GpuNodes(max_gpus=4, gpus_per_node=gpus),
            )
            for id, gpus in (("Small", 1), ("Large", 4))
        ]
        for id, pool in zip(("Sdxl", "Any"), pools, strict=True):
            service.add_runtime(id, MODELS[id], nodes=pool, scaling=Scaling(max_replicas=4))
        assert named(assert_sound(service.app), "NodePool") == ["large", "small"]

    def test_two_apps_of_one_process_do_not_see_each_other(self) -> None:
        for _ in range(2):
            service = light_service()
            service.add_runtime("Sdxl")
            SdNodePool(service.stack, "Gpus", cluster=service.cluster, nodes=GpuNodes(max_gpus=1))
            assert_sound(service.app)


class TestTwoClusters:
    """With everything that a cluster has, since what collides may be there."""

    @pytest.mark.parametrize("stacks", [1, 2], ids=["one-stack", "two-stacks"])
    def test_in_one_app_with_one_api(self, stacks: int) -> None:
        app = new_app()
        made = [Stack(app, f"Stack{number}") for number in range(stacks)]
        api = SdApi(made[0], "Api")
        pools = []
        for number, id in enumerate(("East", "West")):
            stack = made[number % stacks]
            cluster = SdEksCluster(stack, id)
            pools.append(
                SdNodePool(stack, f"{id}Gpus", cluster=cluster, nodes=GpuNodes(max_gpus=4))
            )
        runtime(made[0], "Sdxl", api, pools[0].cluster)
        runtime(made[-1], "Flux", api, pools[1].cluster, nodes=pools[1])
        runtime(made[-1], "Any", api, pools[1].cluster, nodes=pools[1])
        found = assert_sound(app)
        assert len({cluster for cluster, kind, *_ in found if kind == "Deployment"}) == 2
        assert len({cluster for cluster, *_ in found}) == 2

    def test_may_have_pools_and_runtimes_of_the_same_names(self) -> None:
        app = new_app()
        for id in ("East", "West"):
            stack = Stack(app, id)
            cluster = SdEksCluster(stack, "Cluster")
            nodes = GpuNodes(max_gpus=4)
            pool = SdNodePool(stack, "Gpus", cluster=cluster, nodes=nodes)
            api = SdApi(stack, "Api")
            runtime(stack, "Sdxl", api, cluster)
            runtime(stack, "Any", api, cluster, nodes=pool)
        found = assert_sound(app)
        assert named(found, "NodePool") == ["gpus", "gpus", "sdxl", "sdxl"]


class TestStacks:
    @pytest.mark.parametrize("cluster_first", [True, False], ids=["cluster-first", "api-first"])
    @pytest.mark.parametrize("own_stack", [True, False], ids=["pool-apart", "pool-by-cluster"])
    def test_pool_shared_across_stacks(self, cluster_first: bool, own_stack: bool) -> None:
        app = new_app()
        stacks = {name: Stack(app, name) for name in ("One", "Two", "Cluster", "Api")}
        if cluster_first:
            cluster = SdEksCluster(stacks["Cluster"], "Cluster")
            api = SdApi(stacks["Api"], "Api")
        else:
            api = SdApi(stacks["Api"], "Api")
            cluster = SdEksCluster(stacks["Cluster"], "Cluster")
        home = Stack(app, "Pool") if own_stack else stacks["Cluster"]
        pool = SdNodePool(home, "Gpus", cluster=cluster, nodes=GpuNodes(max_gpus=4))
        runtime(stacks["One"], "Sdxl", api, cluster, nodes=pool)
        runtime(stacks["Two"], "Any", api, cluster, nodes=pool)
        runtime(stacks["Two"], "Flux", api, cluster)
        assert_sound(app)
        assert depends_on(stacks["One"]) == {"Api", "Cluster", home.stack_name}
        assert depends_on(stacks["Two"]) >= {"Api", "Cluster", home.stack_name}
        assert depends_on(stacks["Api"]) == depends_on(stacks["Cluster"]) == set()

    def test_runtime_by_the_cluster_with_the_api_elsewhere(self) -> None:
        app = new_app()
        stacks = {name: Stack(app, name) for name in ("Cluster", "Api")}
        cluster = SdEksCluster(stacks["Cluster"], "Cluster")
        api = SdApi(stacks["Api"], "Api")
        runtime(stacks["Cluster"], "Sdxl", api, cluster)
        runtime(stacks["Cluster"], "Any", api, cluster)
        assert_sound(app)
        assert depends_on(stacks["Cluster"]) == {"Api"}
