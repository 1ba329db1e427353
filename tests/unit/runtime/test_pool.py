"""Nodes that a runtime has for itself, and nodes that several share."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import Duration, Environment, Fn, Size, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Annotations, Match

from cdk_stable_diffusion.runtime import (
    GpuNodes,
    ImageStart,
    Model,
    RuntimeImage,
    Scaling,
    SdNodePool,
)
from cdk_stable_diffusion.runtime.pool import UNKNOWN_FAMILIES_WARNING
from cdk_stable_diffusion.runtime.runtime import FEWER_GPUS_WARNING
from tests.manifests.compose import new_app
from tests.manifests.graph import DependencyGraph
from tests.manifests.template import manifests_of
from tests.unit.runtime.light_cluster import (
    LightCluster,
    LightService,
    invalid_manifests,
    light_service,
    spec_of,
)

SNAPSHOT = "snap-0123456789abcdef0"


def shared_pool(service: LightService, id: str = "Gpus", **arguments: Any) -> SdNodePool:
    given = {"nodes": GpuNodes(max_gpus=8), **arguments}
    return SdNodePool(service.stack, id, **{"cluster": service.cluster, **given})


def names_of(kind: str, template: Any) -> list[str]:
    return sorted(
        each["metadata"]["name"] for each in manifests_of(template) if each["kind"] == kind
    )


class TestOwn:
    def test_has_the_runtimes_name_and_as_many_gpus_as_pods(self) -> None:
        service = light_service()
        runtime = service.add_runtime("Sdxl", scaling=Scaling(max_replicas=7))
        template = service.template()
        assert names_of("NodePool", template) == names_of("EC2NodeClass", template) == ["sdxl"]
        assert spec_of("NodePool", "sdxl", template)["limits"] == {"nvidia.com/gpu": "7"}
        assert runtime.pool.name == "sdxl"
        assert runtime.pool.max_gpus == 7

    def test_has_whole_nodes(self) -> None:
        service = light_service()
        runtime = service.add_runtime(nodes=GpuNodes(gpus_per_node=4), scaling=Scaling())
        assert runtime.pool.max_gpus == 12

    def test_stops_where_it_is_told(self) -> None:
        service = light_service()
        service.add_runtime("Sdxl", nodes=GpuNodes(max_gpus=3))
        found = spec_of("NodePool", "sdxl", service.template())
        assert found["limits"] == {"nvidia.com/gpu": "3"}

    def test_takes_no_other_pods(self) -> None:
        service = light_service()
        for id in ("One", "Two"):
            service.add_runtime(id)
        template = service.template()
        for name in ("one", "two"):
            pod = spec_of("Deployment", name, template)["template"]["spec"]
            node = spec_of("NodePool", name, template)["template"]
            assert pod["nodeSelector"] == node["metadata"]["labels"] == {"sd.runtime/pool": name}
            taints = {(each["key"], each["value"]) for each in node["spec"]["taints"]}
            assert taints == {("nvidia.com/gpu", "true"), ("sd.runtime/pool", name)}

    def test_asks_for_more_disk_with_models_in_the_image(self, tmp_path: Any) -> None:
        image = RuntimeImage.from_registry(f"registry.example/agent@sha256:{'0' * 64}")
        service = light_service()
        with_models = _WithModels(image.uri, size=30 * 1024**3)
        service.add_runtime("Big", image=with_models)
        (asked,) = [
            each["values"]
            for each in spec_of("NodePool", "big", service.template())["template"]["spec"][
                "requirements"
            ]
            if each["key"].endswith("local-nvme")
        ]
        # (50 + 2 x 30 + 114) / 0.85 = 263.6 GiB, which is 283.5 GB
        assert asked == ["283"]

    def test_takes_subnets_whose_zone_nobody_knows(self) -> None:
        service = light_service()
        subnet = ec2.Subnet.from_subnet_id(service.stack, "Subnet", "subnet-0c")
        service.cluster.node_subnets = (subnet,)
        service.add_runtime("Sdxl", nodes=GpuNodes(zones=("eu-west-1c",)))
        terms = spec_of("EC2NodeClass", "sdxl", service.template())["subnetSelectorTerms"]
        assert terms == [{"id": "subnet-0c"}]

    def test_takes_zones_that_are_yet_to_be_looked_up(self) -> None:
        stack = Stack(
            new_app(), "Lookup", env=Environment(account="123456789012", region="eu-west-1")
        )
        vpc = ec2.Vpc.from_lookup(stack, "Vpc", vpc_id="vpc-0123456789abcdef0")
        service = light_service()
        service.cluster.node_subnets = tuple(vpc.private_subnets)
        assert vpc.private_subnets[0].availability_zone.startswith("dummy")
        service.add_runtime(nodes=GpuNodes(zones=("eu-west-1a",)))

    def test_takes_a_zone_that_is_known_at_deployment(self) -> None:
        service = light_service()
        service.add_runtime(nodes=GpuNodes(zones=(Fn.select(0, Fn.get_azs()),)))

    def test_lets_karpenter_make_an_instance_profile_where_there_is_none(self) -> None:
        service = light_service()
        service.cluster.instance_profile = None
        service.add_runtime("Sdxl")
        found = spec_of("EC2NodeClass", "sdxl", service.template())
        assert found["role"] == "node-role"
        assert "instanceProfile" not in found


class _WithModels(RuntimeImage):
    """A published image with models in it, of any size."""

    def __init__(self, uri: str | None, *, size: int) -> None:
        super().__init__(uri)
        object.__setattr__(self, "_size", size)

    @property
    def model_bytes(self) -> int:
        return int(object.__getattribute__(self, "_size"))


class TestShared:
    def test_two_runtimes_run_on_one_pool(self) -> None:
        service = light_service()
        pool = shared_pool(service)
        for id in ("One", "Two"):
            assert service.add_runtime(id, nodes=pool).pool is pool
        template = service.template()
        assert names_of("NodePool", template) == names_of("EC2NodeClass", template) == ["gpus"]
        for name in ("one", "two"):
            pod = spec_of("Deployment", name, template)["template"]["spec"]
            assert pod["nodeSelector"] == {"sd.runtime/pool": "gpus"}
            assert {"key": "sd.runtime/pool", "value": "gpus"}.items() <= pod["tolerations"][
                1
            ].items()
        assert invalid_manifests(template) == {}

    def test_its_limit_holds_for_all_of_them(self) -> None:
        service = light_service()
        pool = shared_pool(service, nodes=GpuNodes(max_gpus=8))
        for id in ("One", "Two"):
            service.add_runtime(id, nodes=pool, scaling=Scaling(max_replicas=8))
        found = spec_of("NodePool", "gpus", service.template())
        assert found["limits"] == {"nvidia.com/gpu": "8"}
        Annotations.from_stack(service.stack).has_no_warning("*", Match.any_value())

    def test_warns_of_a_runtime_that_can_never_have_all_its_pods(self) -> None:
        service = light_service()
        pool = shared_pool(service, nodes=GpuNodes(max_gpus=8))
        service.add_runtime("Many", nodes=pool, scaling=Scaling(max_replicas=9))
        Annotations.from_stack(service.stack).has_warning(
            "/Service/Many",
            Match.string_like_regexp(
                f"max_gpus is 8 and scaling.max_replicas 9.*{FEWER_GPUS_WARNING}"
            ),
        )

    @pytest.mark.parametrize(
        ("families", "says"),
        [
            (
                ("g66",),
                r"families names 'g66' \(did you mean 'g6'\?\), which this version does not",
            ),
            (("g5", "p9", "g99"), "families names 'p9', 'g99', which this version does not know"),
            (("g5",), None),
        ],
    )
    def test_warns_of_families_of_which_nothing_is_known(
        self, families: tuple[str, ...], says: str | None
    ) -> None:
        service = light_service()
        shared_pool(service, nodes=GpuNodes(max_gpus=1, families=families))
        annotations = Annotations.from_stack(service.stack)
        if says is None:
            annotations.has_no_warning("/Service/Gpus", Match.any_value())
        else:
            warning = Match.string_like_regexp(f"{says}.*{UNKNOWN_FAMILIES_WARNING}")
            annotations.has_warning("/Service/Gpus", warning)

    def test_beside_runtimes_with_nodes_of_their_own(self) -> None:
        service = light_service()
        pool = shared_pool(service)
        service.add_runtime("One", nodes=pool)
        service.add_runtime("Two")
        assert names_of("NodePool", service.template()) == ["gpus", "two"]

    def test_may_start_from_a_snapshot(self) -> None:
        service = light_service()
        start = ImageStart.snapshot(SNAPSHOT, volume=Size.gibibytes(60))
        shared_pool(service, nodes=GpuNodes(max_gpus=1, image_start=start))
        (_, data) = spec_of("EC2NodeClass", "gpus", service.template())["blockDeviceMappings"]
        assert data["ebs"]["snapshotID"] == SNAPSHOT

    def test_is_deleted_after_what_runs_on_it(self) -> None:
        service = light_service()
        pool = shared_pool(service)
        for id in ("One", "Two"):
            service.add_runtime(id, nodes=pool)
        graph = DependencyGraph(service.template())
        for runtime in ("One", "Two"):
            waited_for = graph.waits_for(graph.named(f"{runtime}/Deployment"))
            assert {graph.named("Gpus/NodePool"), graph.named("Gpus/NodeClass")} <= waited_for
        assert graph.named("Cluster/BeforeNodes") in graph.waits_for(graph.named("Gpus/NodeClass"))

    def test_is_deleted_before_the_rights_of_pods_that_drain_with_it(self) -> None:
        service = light_service()
        pool = shared_pool(service)
        for id in ("One", "Two"):
            service.add_runtime(id, nodes=pool)
        graph = DependencyGraph(service.template())
        waited_for = graph.waits_for(graph.named("Gpus/NodeClass"))
        for runtime in ("One", "Two"):
            for right in ("Association", "Role", "Role/DefaultPolicy"):
                assert graph.named(f"{runtime}/{right}") in waited_for

    def test_a_runtime_may_have_the_pools_name_if_it_shares_it(self) -> None:
        service = light_service()
        pool = shared_pool(service, name="sdxl")
        assert service.add_runtime("Sdxl", nodes=pool).name == pool.name

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"cluster": "cluster"}, "cluster is 'cluster': an SdEksCluster, or what"),
            ({"nodes": None}, "nodes is None: a GpuNodes, such as GpuNodes(max_gpus=3)"),
            ({"nodes": GpuNodes()}, "nodes.max_gpus is None: the most GPUs of all runtimes"),
            (
                {"nodes": GpuNodes(max_gpus=1, image_start=ImageStart.snapshot())},
                "nodes.image_start is ImageStart.snapshot(), which makes a snapshot of one "
                "runtime's image: give a pool an ImageCache",
            ),
            ({"name": "Gpus"}, "name is 'Gpus': 1 to 40 lower-case letters"),
            ({"name": 5}, "name is 5: 1 to 40 lower-case letters"),
            ({"model_cache_gibibytes": 0}, "model_cache_gibibytes is 0: 1 to 10000"),
            ({"model_cache_gibibytes": "9"}, "model_cache_gibibytes is '9': a whole number"),
            (
                {"model_cache_gibibytes": 600},
                "902 GB of local disks and at most 16 vCPUs: max_vcpus 64 or "
                "model_cache_gibibytes 382 would do",
            ),
            (
                {
                    "nodes": GpuNodes(
                        max_gpus=8,
                        gpus_per_node=8,
                        image_start=ImageStart.snapshot(SNAPSHOT, volume=Size.gibibytes(60)),
                    ),
                    "model_cache_gibibytes": 2_000,
                },
                "model_cache_gibibytes is 2000: with gpus_per_node 8 a node's volume would have "
                "20815 GiB, and at most 16384 is possible",
            ),
            (
                {"nodes": GpuNodes(max_gpus=1, zones=("eu-west-1c",))},
                "nodes.zones names 'eu-west-1c': the cluster has subnets in eu-west-1a, eu-west-1b",
            ),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        service = light_service()
        with pytest.raises(ValueError, match="SdNodePool Service/Gpus: ") as error:
            shared_pool(service, **arguments)
        assert says in str(error.value)
        assert service.stack.node.try_find_child("Gpus") is None

    def test_names_every_fault_at_once(self) -> None:
        service = light_service()
        shared_pool(service, "First", name="taken")
        with pytest.raises(ValueError) as error:
            shared_pool(service, name="taken", nodes=GpuNodes(zones=("eu-west-1c",)))
        for says in ("nodes.max_gpus", "nodes.zones", "already has a node pool named 'taken'"):
            assert says in str(error.value)

    def test_leaves_its_name_to_others_where_it_is_refused(self) -> None:
        service = light_service()
        with pytest.raises(ValueError, match=r"nodes\.max_gpus is None"):
            shared_pool(service, nodes=GpuNodes())
        assert shared_pool(service).name == "gpus"

    def test_refuses_the_name_of_a_runtimes_own_pool(self) -> None:
        service = light_service()
        service.add_runtime("Sdxl")
        with pytest.raises(ValueError, match="already has a node pool named 'sdxl'"):
            shared_pool(service, name="sdxl")

    @pytest.mark.parametrize(
        ("nodes", "arguments", "says"),
        [
            (
                GpuNodes(max_gpus=8, termination_grace=Duration.minutes(3)),
                {"longest_task": Duration.minutes(2)},
                "nodes.termination_grace is 180 seconds: at least 210",
            ),
            (
                GpuNodes(max_gpus=8),
                {"model_cache_gibibytes": 101},
                "model_cache_gibibytes is 101: at most 100, which the pool's nodes have room for",
            ),
            (
                GpuNodes(max_gpus=2),
                {"scaling": Scaling(min_replicas=3)},
                "scaling.min_replicas is 3, and 3 with the other runtimes of the pool: at most its "
                "max_gpus, 2",
            ),
        ],
    )
    def test_refuses_a_runtime_that_it_is_not_made_for(
        self, nodes: GpuNodes, arguments: dict[str, Any], says: str
    ) -> None:
        service = light_service()
        pool = shared_pool(service, nodes=nodes)
        with pytest.raises(ValueError, match="SdRuntime Service/Sdxl: ") as error:
            service.add_runtime("Sdxl", nodes=pool, **arguments)
        assert says in str(error.value)

    def test_refuses_more_pods_that_always_run_than_gpus(self) -> None:
        service = light_service()
        pool = shared_pool(service, nodes=GpuNodes(max_gpus=4))
        service.add_runtime("One", nodes=pool, scaling=Scaling(min_replicas=3))
        with pytest.raises(ValueError, match="min_replicas is 2, and 5 with the other runtimes"):
            service.add_runtime("Two", nodes=pool, scaling=Scaling(min_replicas=2))

    def test_keeps_no_gpus_for_a_runtime_that_is_refused(self) -> None:
        service = light_service()
        pool = shared_pool(service, nodes=GpuNodes(max_gpus=4))
        with pytest.raises(ValueError, match="max_receive_count is 0"):
            service.add_runtime(
                "One", nodes=pool, scaling=Scaling(min_replicas=3), max_receive_count=0
            )
        service.add_runtime("Two", nodes=pool, scaling=Scaling(min_replicas=4))

    def test_refuses_a_runtime_of_another_cluster(self) -> None:
        service = light_service()
        other = LightCluster(Stack(service.app, "Other"), "Cluster")
        pool = SdNodePool(service.stack, "Gpus", cluster=other, nodes=GpuNodes(max_gpus=1))
        with pytest.raises(ValueError) as error:
            service.add_runtime("Sdxl", nodes=pool)
        assert (
            "nodes is a pool of 'Other/Cluster': of the runtime's cluster, 'Service/Cluster'"
            in str(error.value)
        )

    def test_counts_models_in_the_image(self) -> None:
        service = light_service()
        pool = shared_pool(service)
        image = _WithModels(f"registry.example/agent@sha256:{'0' * 64}", size=1024**3)
        with pytest.raises(ValueError) as error:
            service.add_runtime("Sdxl", Model.static("sdxl"), nodes=pool, image=image)
        assert (
            "model_cache_gibibytes is 100, and models in the image need 2 more: at most 100"
            in str(error.value)
        )
