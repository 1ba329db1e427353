"""Which arguments a runtime and the values that configure it refuse."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import Duration, Token
from aws_cdk.assertions import Annotations, Match

from cdk_stable_diffusion.runtime import (
    GpuNodes,
    Model,
    RuntimeImage,
    Scaling,
    SdNodePool,
    SdRuntime,
)
from cdk_stable_diffusion.runtime.runtime import FEWER_GPUS_WARNING
from tests.unit.runtime.light_cluster import light_service


class TestRuntime:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"longest_task": Duration.seconds(9)}, "longest_task is 9 seconds: 10 to 43170"),
            ({"longest_task": Duration.hours(12)}, "longest_task is 43200 seconds: 10 to 43170"),
            (
                {"longest_task": Duration.seconds(Token.as_number({"Ref": "Seconds"}))},
                "longest_task is a token: it must be known at synthesis",
            ),
            ({"longest_task": 5}, "longest_task is 5: a Duration, such as Duration.minutes(5)"),
            ({"max_receive_count": "3"}, "max_receive_count is '3': a whole number"),
            ({"max_receive_count": True}, "max_receive_count is True: a whole number"),
            ({"model_cache_gibibytes": None}, "model_cache_gibibytes is None: a whole number"),
            (
                {"image": "x/y:1"},
                "image is 'x/y:1': a RuntimeImage, such as RuntimeImage.from_registry('x/y:1')",
            ),
            ({"scaling": 3}, "scaling is 3: a Scaling, such as Scaling(max_replicas=3)"),
            (
                {"nodes": {}},
                "nodes is {}: a GpuNodes, such as GpuNodes(max_gpus=3), or an SdNodePool",
            ),
            ({"batching": 4}, "batching is 4: a Batching, such as Batching.up_to(4)"),
            ({"priority": "high"}, "priority is 'high': a Priority, such as Priority.HIGH"),
            (
                {"nodes": GpuNodes(termination_grace=Duration.minutes(6))},
                "nodes.termination_grace is 360 seconds: at least 390, since Karpenter kills pods "
                "that need longer to end, and longest_task lets these take 330",
            ),
            (
                {"nodes": GpuNodes(zones=("eu-west-1c",))},
                "nodes.zones names 'eu-west-1c': the cluster has subnets in eu-west-1a, eu-west-1b",
            ),
            (
                {"model_cache_gibibytes": 600},
                "no instance type of g5, g6, g6e, gr6 has 1 GPU of 20 GiB, 902 GB of local disks "
                "and at most 16 vCPUs: max_vcpus 64 or model_cache_gibibytes 382 would do",
            ),
            (
                {"nodes": GpuNodes(gpus_per_node=4), "model_cache_gibibytes": 1_000},
                "no instance type of g5, g6, g6e, gr6 has 4 GPUs of 20 GiB, 5643 GB of local disks "
                "and at most 96 vCPUs",
            ),
            ({"name": 5}, "name is 5: 1 to 40 lower-case letters"),
            (
                {"nodes": GpuNodes(max_gpus=1), "scaling": Scaling(min_replicas=3)},
                "nodes.max_gpus is 1: at least scaling.min_replicas, 3, since each pod needs a GPU",
            ),
            ({"max_receive_count": 0}, "max_receive_count is 0: 1 to 989"),
            ({"model_cache_gibibytes": 0}, "model_cache_gibibytes is 0: 1 to 10000"),
            ({"name": "Has Capitals"}, "name is 'Has Capitals': 1 to 40 lower-case letters"),
            ({"name": "x" * 41}, "1 to 40 lower-case letters"),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError, match="SdRuntime Service/Any: ") as error:
            light_service().add_runtime("Any", Model.dynamic(), **arguments)
        assert says in str(error.value)

    def test_names_every_fault_at_once_and_makes_nothing(self) -> None:
        service = light_service()
        service.add_runtime("First", Model.static("a", "b"))
        with pytest.raises(ValueError) as error:
            service.add_runtime(
                "Second",
                Model.static("b"),
                name="first",
                longest_task=Duration.seconds(1),
                max_receive_count=5_000,
                nodes=GpuNodes(zones=("eu-west-1c",)),
            )
        for says in (
            "longest_task is 1",
            "max_receive_count is 5000",
            "'b' is served by",
            "nodes.zones names 'eu-west-1c'",
            "already has a runtime named 'first'",
            "already has a node pool named 'first'",
        ):
            assert says in str(error.value)
        assert service.stack.node.try_find_child("Second") is None

    @pytest.mark.parametrize(
        "wrong",
        [
            {"max_receive_count": 0},
            # The runtime's name and its route are there to take, and the pool's name is not.
            {"name": "gpus"},
        ],
    )
    def test_leaves_its_name_and_its_models_to_others_where_it_is_refused(
        self, wrong: dict[str, Any]
    ) -> None:
        service = light_service()
        pool = SdNodePool(
            service.stack, "Gpus", cluster=service.cluster, nodes=GpuNodes(max_gpus=1)
        )
        arguments: dict[str, Any] = {"name": "sdxl", **wrong}
        with pytest.raises(ValueError, match=r"max_receive_count|node pool named 'gpus'"):
            service.add_runtime("Refused", Model.static("a"), **arguments)
        assert service.api.routes.runtimes() == ()
        name = arguments["name"]
        nodes = pool if name == "gpus" else None
        taken = service.add_runtime("Taken", Model.static("a"), name=name, nodes=nodes)
        assert taken.name == name

    def test_keeps_what_another_runtime_has_where_it_is_refused(self) -> None:
        service = light_service()
        service.add_runtime("Sdxl", Model.static("a"))
        for _ in range(2):
            with pytest.raises(
                ValueError, match="'a' is served by runtime 'sdxl' already"
            ) as error:
                service.add_runtime("Other", Model.static("a"), name="sdxl")
            assert "the cluster already has a runtime named 'sdxl'" in str(error.value)
            assert "the cluster already has a node pool named 'sdxl'" in str(error.value)

    def test_refuses_a_models_name_for_a_model(self) -> None:
        service = light_service()
        with pytest.raises(ValueError) as error:
            service.add_runtime("Sdxl", "sdxl", longest_task=5)  # type: ignore[arg-type]
        assert str(error.value) == (
            "SdRuntime Service/Sdxl: model is 'sdxl': a Model, such as Model.static('sdxl'); "
            "longest_task is 5: a Duration, such as Duration.minutes(5)"
        )
        # The refused runtime has not taken the model.
        service.add_runtime("Other", Model.static("sdxl"))

    def test_refuses_an_api_and_a_cluster_that_are_mixed_up(self) -> None:
        service = light_service()
        mixed: dict[str, Any] = {"api": service.cluster, "cluster": service.api}
        with pytest.raises(ValueError) as error:
            SdRuntime(service.stack, "Sdxl", model=Model.static("sdxl"), **mixed)
        assert str(error.value) == (
            "SdRuntime Service/Sdxl: api is the LightCluster 'Service/Cluster': an SdApi; "
            "cluster is the SdApi 'Service/Api': an SdEksCluster, or what "
            "SdEksCluster.from_cluster returns"
        )

    def test_warns_of_pods_that_cannot_have_a_gpu(self) -> None:
        service = light_service()
        service.add_runtime("Few", Model.static("a"), nodes=GpuNodes(max_gpus=2))
        service.add_runtime(
            "Enough", Model.static("b"), nodes=GpuNodes(max_gpus=10), scaling=Scaling()
        )
        annotations = Annotations.from_stack(service.stack)
        says = Match.string_like_regexp(
            f"max_gpus is 2 and scaling.max_replicas 10.*{FEWER_GPUS_WARNING}"
        )
        annotations.has_warning("/Service/Few", says)
        annotations.has_no_warning("/Service/Enough", Match.any_value())

    def test_refuses_a_name_that_is_taken(self) -> None:
        service = light_service()
        service.add_runtime("Sdxl", Model.static("a"))
        with pytest.raises(ValueError, match="already has a runtime named 'sdxl'"):
            service.add_runtime("Other", Model.static("b"), name="sdxl")

    def test_refuses_a_second_dynamic_runtime(self) -> None:
        service = light_service()
        service.add_runtime("One", Model.dynamic())
        with pytest.raises(ValueError, match="has the dynamic runtime 'one' already"):
            service.add_runtime("Two", Model.dynamic())


class TestModel:
    def test_static_names_its_models(self) -> None:
        assert Model.static("a", "b.c_d-1").names == ("a", "b.c_d-1")

    def test_dynamic_names_none(self) -> None:
        assert Model.dynamic().names == ()

    @pytest.mark.parametrize(
        ("names", "says"),
        [
            ((), "no model is named"),
            (("a", "a"), "model 'a' is named 2 times"),
            (("",), "model ''"),
            (("../secret",), "model '../secret'"),
            (("x" * 129,), "1 to 128"),
            ((["a", "b"],), "model is ['a', 'b']: names one by one, Model.static('a', 'b')"),
            ((["a"], ["a"]), "model is ['a']: names one by one, Model.static('a')"),
            ((5,), "model is 5: a name, such as Model.static('sdxl')"),
            pytest.param(
                ("a", Token.as_string({"Ref": "Model"}), "/"),
                "Model.static: model is a token: it must be known at synthesis; model '/': 1 to",
                id="token",
            ),
        ],
    )
    def test_refuses(self, names: tuple[Any, ...], says: str) -> None:
        with pytest.raises(ValueError) as error:
            Model.static(*names)
        assert says in str(error.value)


class TestScaling:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"target_latency": Duration.seconds(0)}, "target_latency is 0 seconds: at least 1"),
            ({"seconds_per_image": 0}, "seconds_per_image is 0: more than 0"),
            ({"seconds_per_image": -1.0}, "seconds_per_image is -1.0: more than 0"),
            ({"seconds_per_image": float("nan")}, "seconds_per_image is nan: more than 0"),
            ({"target_latency": 60}, "target_latency is 60: a Duration, such as"),
            ({"cooldown": "5m"}, "cooldown is '5m': a Duration, such as"),
            ({"seconds_per_image": "5"}, "seconds_per_image is '5': a number"),
            ({"max_replicas": "3"}, "max_replicas is '3': a whole number"),
            ({"min_replicas": 1.0}, "min_replicas is 1.0: a whole number"),
            (
                {"target_latency": Duration.seconds(10), "seconds_per_image": 45},
                "target_latency is 10 seconds: cannot be met, since seconds_per_image is 45",
            ),
            (
                {"seconds_per_image": 61.5},
                "target_latency is 60 seconds by default: cannot be met, since seconds_per_image "
                "is 61.5",
            ),
            ({"max_replicas": 0}, "max_replicas is 0: 1 to 1000"),
            ({"min_replicas": 11}, "min_replicas is 11: 0 to max_replicas, 10"),
            ({"min_replicas": -1}, "min_replicas is -1: 0 to max_replicas, 10"),
            (
                {"scale_down_stabilization": Duration.hours(2)},
                "scale_down_stabilization is 7200 seconds: 0 to 3600",
            ),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError) as error:
            Scaling(**arguments)
        assert says in str(error.value)

    def test_names_every_fault_at_once(self) -> None:
        with pytest.raises(ValueError) as error:
            Scaling(seconds_per_image=-1, min_replicas=-1, max_replicas=5_000)
        for argument in ("seconds_per_image", "min_replicas", "max_replicas"):
            assert argument in str(error.value)


class TestRuntimeImage:
    @pytest.mark.parametrize(
        "uri",
        [
            "",
            "https://registry.example/agent",
            "two words",
            5,
            None,
            "ghcr.io/a/b@sha256:abc",
            f"ghcr.io/a/b@sha256:{'A' * 64}",
            f"ghcr.io/a/b@sha256:{'0' * 65}",
            f"ghcr.io/a/b@md5:{'0' * 32}",
            "ghcr.io/Acme/SD:1",
            "Acme/sd",
            "ghcr.io/a/b:",
            "ghcr.io/a/b:-1",
            f"ghcr.io/a/b:{'1' * 129}",
            "ghcr.io/a//b",
            "ghcr.io/a/",
            "ghcr.io:https/a",
            "a..b/c",
            "a/b\n",
        ],
    )
    def test_refuses_what_is_no_image(self, uri: Any) -> None:
        with pytest.raises(ValueError, match=r"uri is .*: an image, as registry/name:tag or"):
            RuntimeImage.from_registry(uri)

    @pytest.mark.parametrize(
        "uri",
        [
            "busybox",
            "acme/sd:V1.0_rc-2",
            "localhost/a",
            "localhost:5000/a__b/c-d.e:1",
            "GHCR.io/a/b",
            "[::1]:5000/a",
            "10.0.0.1/a---b",
            f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/sd:1@sha256:{'0a' * 32}",
            f"ghcr.io/a/b@sha512:{'f' * 128}",
            # The text of a token has a number that differs from run to run.
            pytest.param(f"{Token.as_string({'Ref': 'Registry'})}/A:1", id="token"),
        ],
    )
    def test_takes_what_the_kubelet_takes(self, uri: str) -> None:
        assert RuntimeImage.from_registry(uri).uri == uri
