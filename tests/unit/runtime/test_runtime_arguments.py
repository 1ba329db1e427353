"""Which arguments a runtime and the values that configure it refuse."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import Duration, Token

from cdk_stable_diffusion.runtime import (
    GpuNodes,
    Model,
    RuntimeImage,
    Scaling,
)
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
            ({"max_receive_count": 0}, "max_receive_count is 0: 1 to 999"),
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
        ],
    )
    def test_refuses(self, names: tuple[str, ...], says: str) -> None:
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


class TestRuntimeImage:
    @pytest.mark.parametrize("uri", ["", "https://registry.example/agent", "two words"])
    def test_refuses_what_is_no_image(self, uri: str) -> None:
        with pytest.raises(ValueError, match="uri is "):
            RuntimeImage.from_registry(uri)
