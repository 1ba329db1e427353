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
    SdRuntime,
)
from cdk_stable_diffusion.runtime.runtime import FEWER_GPUS_WARNING
from tests.manifests.compose import new_service


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
            ({"nodes": {}}, "nodes is {}: a GpuNodes, such as GpuNodes(max_gpus=3)"),
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
            new_service().add_runtime("Any", Model.dynamic(), **arguments)
        assert says in str(error.value)

    def test_names_every_fault_at_once_and_makes_nothing(self) -> None:
        service = new_service()
        service.add_runtime("First", Model.static("a", "b"))
        with pytest.raises(ValueError) as error:
            service.add_runtime(
                "Second",
                Model.static("b"),
                longest_task=Duration.seconds(1),
                max_receive_count=5_000,
            )
        for says in ("longest_task is 1", "max_receive_count is 5000", "'b' is served by"):
            assert says in str(error.value)
        assert service.stack.node.try_find_child("Second") is None

    def test_refuses_a_models_name_for_a_model(self) -> None:
        service = new_service()
        with pytest.raises(ValueError) as error:
            service.add_runtime("Sdxl", "sdxl", longest_task=5)  # type: ignore[arg-type]
        assert str(error.value) == (
            "SdRuntime Service/Sdxl: model is 'sdxl': a Model, such as Model.static('sdxl'); "
            "longest_task is 5: a Duration, such as Duration.minutes(5)"
        )
        # The refused runtime has not taken the model.
        service.add_runtime("Other", Model.static("sdxl"))

    def test_refuses_an_api_and_a_cluster_that_are_mixed_up(self) -> None:
        service = new_service()
        mixed: dict[str, Any] = {"api": service.cluster, "cluster": service.api}
        with pytest.raises(ValueError) as error:
            SdRuntime(service.stack, "Sdxl", model=Model.static("sdxl"), **mixed)
        assert str(error.value) == (
            "SdRuntime Service/Sdxl: api is the SdEksCluster 'Service/Cluster': an SdApi; "
            "cluster is the SdApi 'Service/Api': an SdEksCluster"
        )

    def test_warns_of_pods_that_cannot_have_a_gpu(self) -> None:
        service = new_service()
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
        service = new_service()
        service.add_runtime("Sdxl", Model.static("a"))
        with pytest.raises(ValueError, match="already has a runtime named 'sdxl'"):
            service.add_runtime("Other", Model.static("b"), name="sdxl")

    def test_refuses_a_second_dynamic_runtime(self) -> None:
        service = new_service()
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


class TestGpuNodes:
    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ({"families": ()}, "families is empty"),
            ({"families": ("g6.xlarge",)}, "families names 'g6.xlarge'"),
            ({"families": "g5"}, "families is 'g5': a tuple of instance families, such as ('g5',)"),
            ({"families": (5,)}, "families names 5"),
            ({"families": ("m5",)}, "families names 'm5': a family with NVIDIA GPUs"),
            ({"families": ("inf2",)}, "families names 'inf2': a family with NVIDIA GPUs"),
            ({"families": ("g6", "g4ad")}, "families names 'g4ad': its GPUs are AMD's"),
            ({"families": ("g5g",)}, "families names 'g5g': its processors are ARM"),
            ({"families": ("g6f",)}, "families names 'g6f': its instances have a fraction"),
            (
                {"families": ("g5",), "min_gpu_memory_gibibytes": 40},
                "min_gpu_memory_gibibytes is 40: at most 22 with the families g5",
            ),
            ({"min_gpu_memory_gibibytes": "24"}, "min_gpu_memory_gibibytes is '24': a whole"),
            ({"max_vcpus": 8.0}, "max_vcpus is 8.0: a whole number"),
            ({"max_gpus": "3"}, "max_gpus is '3': a whole number"),
            ({"capacity": "spot"}, "capacity is 'spot': a Capacity, such as Capacity.SPOT"),
            ({"image_start": "pull"}, "image_start is 'pull': an ImageStart, such as"),
            ({"expire_after": 5}, "expire_after is 5: a Duration"),
            ({"min_gpu_memory_gibibytes": 0}, "min_gpu_memory_gibibytes is 0: 1 to 1024"),
            ({"max_vcpus": 2}, "max_vcpus is 2: 4 to 192"),
            ({"max_gpus": 0}, "max_gpus is 0: at least 1"),
            ({"expire_after": Duration.minutes(5)}, "expire_after is 300 seconds: at least 3600"),
        ],
    )
    def test_refuses(self, arguments: dict[str, Any], says: str) -> None:
        with pytest.raises(ValueError) as error:
            GpuNodes(**arguments)
        assert says in str(error.value)

    @pytest.mark.parametrize(
        "arguments",
        [
            {"families": ("g5", "g6e"), "min_gpu_memory_gibibytes": 44},
            {"families": ("g5",), "min_gpu_memory_gibibytes": 22},
            {"families": ("p5",), "min_gpu_memory_gibibytes": 80},
            {"families": ("g5", "g99"), "min_gpu_memory_gibibytes": 500},
        ],
    )
    def test_takes_what_may_be_met(self, arguments: dict[str, Any]) -> None:
        assert GpuNodes(**arguments).families == arguments["families"]


class TestRuntimeImage:
    @pytest.mark.parametrize("uri", ["", "https://registry.example/agent", "two words", 5, None])
    def test_refuses_what_is_no_image(self, uri: Any) -> None:
        with pytest.raises(ValueError, match="uri is "):
            RuntimeImage.from_registry(uri)
