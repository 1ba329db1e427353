"""How nodes come to have the image: never two ways at once."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import NestedStack, Size, Stack, Token
from aws_cdk import aws_ec2 as ec2
from aws_cdk.assertions import Annotations, Match
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime import (
    GpuNodes,
    ImageStart,
    Model,
    RuntimeImage,
    SdNodePool,
    SdRuntime,
)
from cdk_stable_diffusion.runtime.disk import DiskUse
from cdk_stable_diffusion.runtime.image_cache import ImageCache
from cdk_stable_diffusion.runtime.node_class import node_class
from cdk_stable_diffusion.runtime.runtime import NOT_IN_CACHE_WARNING
from tests.manifests.compose import IMAGE, properties
from tests.manifests.graph import DependencyGraph
from tests.manifests.validator import faults_of
from tests.unit.runtime.light_cluster import (
    AUTO_MODE,
    KARPENTER,
    LightService,
    invalid_manifests,
    light_service,
    spec_of,
)

SNAPSHOT = "snap-0123456789abcdef0"
OTHER_IMAGE = RuntimeImage.from_registry(f"registry.example/other@sha256:{'1' * 64}")

RATES = st.integers(100, 300)
THROUGHPUTS = st.integers(125, 1_000)
STARTS = st.just(ImageStart.parallel_pull()) | st.builds(
    ImageStart.snapshot,
    st.just(SNAPSHOT),
    volume=st.integers(1, 2_000).map(Size.gibibytes),
    initialization_mebibytes_per_second=RATES,
    throughput_mebibytes_per_second=THROUGHPUTS,
)


def node_class_of(
    start: ImageStart, *, pods: int = 1, cache: int = 100, compute: Any = KARPENTER
) -> dict[str, Any]:
    """Return the spec of a node class."""
    manifest = node_class(
        "gpus",
        compute=compute,
        nodes=GpuNodes(image_start=start, gpus_per_node=pods),
        role="node-role",
        instance_profile="node-profile",
        subnet_ids=["subnet-0a"],
        security_group_id="sg-0a",
        use=DiskUse(model_cache_gibibytes=cache),
    )
    assert faults_of(manifest) == []
    return dict(manifest["spec"])


def shared_cache(service: LightService, *images: RuntimeImage) -> ImageCache:
    return ImageCache(service.stack, "Images", images=images or [IMAGE], vpc=service.cluster.vpc)


class TestParallelPull:
    def test_pulls_to_an_array_of_the_local_disks(self) -> None:
        spec = node_class_of(ImageStart.parallel_pull())
        assert spec["instanceStorePolicy"] == "RAID0"
        assert 'snapshotter = "soci"' in spec["userData"]
        assert not any("snapshotID" in each["ebs"] for each in spec["blockDeviceMappings"])

    def test_encrypts_every_volume(self) -> None:
        volumes = node_class_of(ImageStart.parallel_pull())["blockDeviceMappings"]
        assert [each["ebs"]["encrypted"] for each in volumes] == [True, True]


class TestSnapshot:
    def test_makes_the_data_volume_of_the_snapshot(self) -> None:
        start = ImageStart.snapshot(SNAPSHOT, volume=Size.gibibytes(60))
        (system, data) = node_class_of(start)["blockDeviceMappings"]
        assert system["deviceName"] == "/dev/xvda"
        assert system["ebs"]["encrypted"] is True
        assert data == {
            "deviceName": "/dev/xvdb",
            "ebs": {
                "snapshotID": SNAPSHOT,
                # (60 + 114) / 0.85
                "volumeSize": "205Gi",
                "volumeType": "gp3",
                "iops": 3_000,
                "throughput": 600,
                "volumeInitializationRate": 300,
                "deleteOnTermination": True,
            },
        }

    def test_has_room_for_the_model_cache_of_every_pod(self) -> None:
        start = ImageStart.snapshot(SNAPSHOT, volume=Size.gibibytes(60))
        (_, data) = node_class_of(start, pods=4)["blockDeviceMappings"]
        assert data["ebs"]["volumeSize"] == "608Gi"

    @pytest.mark.parametrize(("throughput", "iops"), [(125, 3_000), (750, 3_000), (1_000, 4_000)])
    def test_has_as_many_iops_as_its_throughput_needs(self, throughput: int, iops: int) -> None:
        start = ImageStart.snapshot(
            SNAPSHOT,
            volume=Size.gibibytes(60),
            throughput_mebibytes_per_second=throughput,
            initialization_mebibytes_per_second=100,
        )
        ebs = node_class_of(start)["blockDeviceMappings"][1]["ebs"]
        assert (ebs["throughput"], ebs["iops"]) == (throughput, iops)
        assert ebs["volumeInitializationRate"] == 100

    @given(start=STARTS, pods=st.sampled_from([1, 4, 8]), cache=st.integers(1, 1_500))
    def test_never_meets_an_array_or_another_snapshotter(
        self, start: ImageStart, pods: int, cache: int
    ) -> None:
        spec = node_class_of(start, pods=pods, cache=cache)
        has_snapshot = any("snapshotID" in each["ebs"] for each in spec["blockDeviceMappings"])
        assert has_snapshot is start.is_snapshot
        assert ("instanceStorePolicy" in spec) is ("userData" in spec) is not has_snapshot

    def test_takes_the_id_of_a_snapshot_that_is_known_at_deployment(self) -> None:
        service = light_service()
        snapshot = Token.as_string({"Ref": "Snapshot"})
        start = ImageStart.snapshot(snapshot, volume=Size.gibibytes(60))
        service.add_runtime("Sdxl", nodes=GpuNodes(image_start=start))
        (_, data) = spec_of("EC2NodeClass", "sdxl", service.template())["blockDeviceMappings"]
        assert "Snapshot" in data["ebs"]["snapshotID"]

    @pytest.mark.parametrize(
        ("source", "arguments", "says"),
        [
            ("snapshot", {}, "source is 'snapshot': an ImageCache, the id of a snapshot such as"),
            ("ami-0123456789abcdef0", {}, "source is 'ami-0123456789abcdef0': an ImageCache"),
            (5, {}, "source is 5: an ImageCache"),
            (ImageCache, {}, "source is the class ImageCache: an ImageCache"),
            (SNAPSHOT, {}, "volume is None: the size of the volume that the snapshot was taken of"),
            (SNAPSHOT, {"volume": 60}, "volume is 60: a Size, such as Size.gibibytes(60)"),
            (
                SNAPSHOT,
                {"volume": Size.tebibytes(20)},
                "volume is 20480 GiB: whole GiB, 1 to 16384",
            ),
            (None, {"volume": Size.mebibytes(512)}, "volume is 512 MiB: whole GiB, 20 to 16384"),
            (None, {"volume": Size.gibibytes(19)}, "volume is 19 GiB: whole GiB, 20 to 16384"),
            (SNAPSHOT, {"volume": Size.mebibytes(1_536)}, "volume is 1536 MiB: whole GiB, 1 to"),
            pytest.param(
                SNAPSHOT,
                {"volume": Size.gibibytes(Token.as_number({"Ref": "Size"}))},
                "volume is a token: it must be known at synthesis",
                id="token",
            ),
            (
                None,
                {"initialization_mebibytes_per_second": 99},
                "initialization_mebibytes_per_second is 99: 100 to 300",
            ),
            (
                None,
                {"throughput_mebibytes_per_second": 1_001},
                "throughput_mebibytes_per_second is 1001: 125 to 1000",
            ),
            (
                None,
                {"throughput_mebibytes_per_second": "fast"},
                "throughput_mebibytes_per_second is 'fast': a whole number",
            ),
        ],
    )
    def test_refuses(self, source: Any, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match=r"^ImageStart\.snapshot: ") as error:
            ImageStart.snapshot(source, **arguments)
        assert says in str(error.value)

    def test_refuses_a_volume_beside_an_image_cache(self) -> None:
        cache = shared_cache(light_service())
        with pytest.raises(ValueError, match="volume is given, but so is an ImageCache"):
            ImageStart.snapshot(cache, volume=Size.gibibytes(60))

    def test_refuses_an_image_cache_of_another_stack(self) -> None:
        service = light_service()
        elsewhere = Stack(service.app, "Elsewhere")
        start = ImageStart.snapshot(shared_cache(service))
        says = "ImageCache of the stack 'Service': it must be in that of the nodes, 'Elsewhere'"
        for make in (
            lambda: SdNodePool(
                elsewhere,
                "Pool",
                cluster=service.cluster,
                nodes=GpuNodes(image_start=start, max_gpus=3),
            ),
            lambda: SdRuntime(
                elsewhere,
                "Sdxl",
                api=service.api,
                cluster=service.cluster,
                model=Model.dynamic(),
                nodes=GpuNodes(image_start=start),
            ),
        ):
            with pytest.raises(ValueError, match=r"nodes\.image_start") as error:
                make()
            assert says in str(error.value)

    def test_takes_the_image_cache_of_the_stack_around_it(self) -> None:
        service = light_service()
        start = ImageStart.snapshot(shared_cache(service))
        SdNodePool(
            NestedStack(service.stack, "Nested"),
            "Pool",
            cluster=service.cluster,
            nodes=GpuNodes(image_start=start, max_gpus=3),
        )


class TestOwnCache:
    def test_is_made_of_the_runtimes_image(self) -> None:
        service = light_service()
        runtime = service.add_runtime("Sdxl", nodes=GpuNodes(image_start=ImageStart.snapshot()))
        assert runtime.image_cache is not None
        template = service.template()
        (made,) = properties(template, "Custom::StableDiffusionImageCache")
        assert [each["Uri"] for each in made["Images"]] == [IMAGE.uri]
        ebs = spec_of("EC2NodeClass", "sdxl", template)["blockDeviceMappings"][1]["ebs"]
        assert runtime.image_cache.volume_gibibytes == 60
        assert ebs["volumeSize"] == "205Gi"
        assert invalid_manifests(template) == {}

    def test_is_there_before_the_nodes_and_until_they_are_gone(self) -> None:
        service = light_service()
        service.add_runtime("Sdxl", nodes=GpuNodes(image_start=ImageStart.snapshot()))
        graph = DependencyGraph(service.template())
        (snapshot,) = graph.of_type("Custom::StableDiffusionImageCache")
        assert snapshot in graph.waits_for(graph.named("Sdxl/Pool/NodeClass"))
        assert snapshot in graph.waits_for(graph.named("Sdxl/Deployment"))

    def test_may_have_another_size(self) -> None:
        service = light_service()
        start = ImageStart.snapshot(volume=Size.gibibytes(90))
        runtime = service.add_runtime("Sdxl", nodes=GpuNodes(image_start=start))
        assert runtime.image_cache is not None
        assert runtime.image_cache.volume_gibibytes == 90
        ebs = spec_of("EC2NodeClass", "sdxl", service.template())["blockDeviceMappings"][1]["ebs"]
        assert ebs["volumeSize"] == "240Gi"

    def test_builds_where_the_nodes_are(self) -> None:
        service = light_service()
        subnet = ec2.Subnet.from_subnet_attributes(
            service.stack, "Subnet", subnet_id="subnet-0c", availability_zone="eu-west-1a"
        )
        service.cluster.node_subnets = (subnet,)
        service.add_runtime("Sdxl", nodes=GpuNodes(image_start=ImageStart.snapshot()))
        template = service.template()
        machines = properties(template, "AWS::StepFunctions::StateMachine")
        assert any("subnet-0c" in str(each["DefinitionString"]) for each in machines)
        assert not any("subnet-0a" in str(each["DefinitionString"]) for each in machines)

    def test_is_not_there_without_a_snapshot(self) -> None:
        assert light_service().add_runtime("Sdxl").image_cache is None

    def test_refuses_with_the_other_faults(self) -> None:
        service = light_service()
        image = RuntimeImage.from_registry("registry.example/agent:1")
        nodes = GpuNodes(image_start=ImageStart.snapshot())
        with pytest.raises(ValueError, match="SdRuntime Service/Sdxl: ") as error:
            service.add_runtime("Sdxl", nodes=nodes, image=image, max_receive_count=0)
        says = "nodes.image_start makes an ImageCache: images[0] is 'registry.example/agent:1'"
        assert says in str(error.value)
        assert "max_receive_count is 0" in str(error.value)
        assert service.stack.node.try_find_child("Sdxl") is None


class TestSharedCache:
    def test_serves_runtimes_with_nodes_of_their_own(self) -> None:
        service = light_service()
        cache = shared_cache(service, IMAGE, OTHER_IMAGE)
        nodes = GpuNodes(image_start=ImageStart.snapshot(cache))
        service.add_runtime("One", nodes=nodes)
        service.add_runtime("Two", nodes=nodes, image=OTHER_IMAGE)
        template = service.template()
        assert len(properties(template, "Custom::StableDiffusionImageCache")) == 1
        ids = {
            spec_of("EC2NodeClass", name, template)["blockDeviceMappings"][1]["ebs"]["snapshotID"]
            for name in ("one", "two")
        }
        assert len(ids) == 1
        Annotations.from_stack(service.stack).has_no_warning("*", Match.any_value())

    def test_serves_a_shared_pool(self) -> None:
        service = light_service()
        cache = shared_cache(service)
        pool = SdNodePool(
            service.stack,
            "Gpus",
            cluster=service.cluster,
            nodes=GpuNodes(max_gpus=4, image_start=ImageStart.snapshot(cache)),
        )
        service.add_runtime("One", nodes=pool)
        graph = DependencyGraph(service.template())
        (snapshot,) = graph.of_type("Custom::StableDiffusionImageCache")
        assert snapshot in graph.waits_for(graph.named("Gpus/NodeClass"))

    def test_knows_an_image_that_the_app_builds(self) -> None:
        service = light_service()
        image = RuntimeImage.from_package()
        nodes = GpuNodes(image_start=ImageStart.snapshot(shared_cache(service, image)))
        service.add_runtime("One", nodes=nodes, image=image)
        Annotations.from_stack(service.stack).has_no_warning("*", Match.any_value())

    def test_warns_of_an_image_that_it_lacks(self) -> None:
        service = light_service()
        nodes = GpuNodes(image_start=ImageStart.snapshot(shared_cache(service)))
        service.add_runtime("One", nodes=nodes, image=OTHER_IMAGE)
        Annotations.from_stack(service.stack).has_warning(
            "/Service/One",
            Match.string_like_regexp(f"not in Service/Images.*{NOT_IN_CACHE_WARNING}"),
        )


class TestAutoMode:
    def test_has_its_own_node_class(self) -> None:
        assert node_class_of(ImageStart.parallel_pull(), compute=AUTO_MODE) == {
            "role": "node-role",
            "subnetSelectorTerms": [{"id": "subnet-0a"}],
            "securityGroupSelectorTerms": [{"id": "sg-0a"}],
            "networkPolicy": "DefaultAllow",
            "ephemeralStorage": {"size": "193Gi"},
        }

    @given(pods=st.sampled_from([1, 4, 8]), cache=st.integers(1, 1_000))
    def test_uses_the_local_disks_of_every_instance(self, pods: int, cache: int) -> None:
        spec = node_class_of(ImageStart.parallel_pull(), compute=AUTO_MODE, pods=pods, cache=cache)
        size = int(spec["ephemeralStorage"]["size"].removesuffix("Gi"))
        # The NodePool asks for as many gigabytes. They are more, in either unit, than this size,
        # above which Auto Mode would leave the disks alone.
        disks = DiskUse(model_cache_gibibytes=cache).local_disk_gigabytes(pods=pods)
        assert size < disks
        assert size * 1024**3 <= disks * 1000**3
