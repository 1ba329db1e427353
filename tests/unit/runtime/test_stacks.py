"""Runtimes in other stacks than what they need: only where all of them can be deployed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk import App, Environment, NestedStack, Stack

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.runtime import GpuNodes, Model, SdNodePool, SdRuntime
from tests.manifests.compose import IMAGE, new_app
from tests.unit.runtime.light_cluster import LightCluster

IRELAND = Environment(account="123456789012", region="eu-west-1")
VIRGINIA = Environment(account="123456789012", region="us-east-1")
NODES = GpuNodes(max_gpus=8)


class Spread:
    """An API and a cluster in stacks of their own, beside one more."""

    def __init__(self) -> None:
        self.app = new_app()
        self.stacks = {name: Stack(self.app, name) for name in ("Api", "Cluster", "Own")}
        self.api = SdApi(self.stacks["Api"], "Api")
        self.cluster = LightCluster(self.stacks["Cluster"], "Cluster")

    def add_runtime(self, home: str, id: str, **given: Any) -> SdRuntime:
        arguments = {"api": self.api, "cluster": self.cluster, "image": IMAGE, **given}
        model = Model.static(id.lower())
        return SdRuntime(self.stacks[home], id, **{"model": model, **arguments})


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as error:
        make()
    return str(error.value)


class TestOrder:
    @pytest.mark.parametrize("homes", [*itertools.product(("Api", "Cluster", "Own"), repeat=2)])
    def test_no_stack_is_deployed_after_itself(self, homes: tuple[str, str]) -> None:
        spread = Spread()
        first, second = homes
        spread.add_runtime(first, "First")
        if {first, second} != {"Api", "Cluster"}:
            spread.add_runtime(second, "Second")
            spread.app.synth()
            return
        assert refusal(lambda: spread.add_runtime(second, "Second")) == (
            f"SdRuntime {second}/Second: {first.lower()} is in the stack '{first}', which is "
            f"deployed after '{second}' because of another runtime or pool, so that neither could "
            "be first: put them in one of the two stacks, or in one of their own"
        )
        # What was refused has changed nothing.
        spread.add_runtime(first, "Second")
        spread.app.synth()

    def test_pools_count_too(self) -> None:
        spread = Spread()
        SdNodePool(spread.stacks["Api"], "Gpus", cluster=spread.cluster, nodes=NODES)
        said = refusal(lambda: spread.add_runtime("Cluster", "Sdxl"))
        assert "api is in the stack 'Api', which is deployed after 'Cluster'" in said

    def test_pools_are_refused_too(self) -> None:
        spread = Spread()
        spread.add_runtime("Cluster", "Sdxl")
        said = refusal(
            lambda: SdNodePool(spread.stacks["Api"], "Gpus", cluster=spread.cluster, nodes=NODES)
        )
        assert "SdNodePool Api/Gpus: cluster is in the stack 'Cluster', which is deployed" in said

    def test_a_pool_by_the_cluster_of_a_runtime_by_the_api(self) -> None:
        spread = Spread()
        pool = SdNodePool(spread.stacks["Cluster"], "Gpus", cluster=spread.cluster, nodes=NODES)
        spread.add_runtime("Api", "Sdxl", nodes=pool)
        spread.app.synth()

    def test_a_way_round_by_a_third_stack_is_found(self) -> None:
        spread = Spread()
        spread.add_runtime("Own", "First")
        own_api = SdApi(spread.stacks["Own"], "Api", account_log_role=False)
        said = refusal(lambda: spread.add_runtime("Api", "Second", api=own_api))
        assert "api is in the stack 'Own', which is deployed after 'Api'" in said

    def test_nested_stacks_are_deployed_with_what_they_are_in(self) -> None:
        spread = Spread()
        spread.stacks["Nested"] = NestedStack(spread.stacks["Cluster"], "Nested")
        spread.add_runtime("Nested", "First")
        said = refusal(lambda: spread.add_runtime("Api", "Second"))
        assert "cluster is in the stack 'Cluster', which is deployed after 'Api'" in said

    def test_apps_know_nothing_of_each_other(self) -> None:
        one, other = Spread(), Spread()
        one.add_runtime("Cluster", "Sdxl")
        other.add_runtime("Api", "Sdxl")


class TestEnvironment:
    @pytest.mark.parametrize(
        ("elsewhere", "shown"),
        [
            (VIRGINIA, "123456789012/us-east-1"),
            (Environment(account="210987654321", region="eu-west-1"), "210987654321/eu-west-1"),
            (None, "an account and a region that are known at deployment"),
        ],
        ids=["region", "account", "unknown"],
    )
    def test_is_one(self, elsewhere: Environment | None, shown: str) -> None:
        app = App()
        home = Stack(app, "Home", env=IRELAND)
        stack = Stack(app, "Runtimes", env=elsewhere)
        cluster = LightCluster(home, "Cluster")
        pool = SdNodePool(home, "Gpus", cluster=cluster, nodes=NODES)
        api = SdApi(home, "Api")
        says = (
            "is in the stack 'Home' with 123456789012/eu-west-1, and this in 'Runtimes' with "
            f"{shown}: in one account and region"
        )
        said = refusal(
            lambda: SdRuntime(
                stack, "Any", api=api, cluster=cluster, model=Model.dynamic(), nodes=pool
            )
        )
        for argument in ("api", "cluster", "nodes"):
            assert f"{argument} {says}" in said
        said = refusal(lambda: SdNodePool(stack, "More", cluster=cluster, nodes=NODES))
        assert f"cluster {says}" in said
        # What was refused has taken no name.
        SdRuntime(home, "Any", api=api, cluster=cluster, model=Model.dynamic(), nodes=pool)
