"""What a runtime does to its pictures: what is refused, and what its pods are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aws_cdk import Token

from cdk_stable_diffusion.contract import AgentEnvironment
from cdk_stable_diffusion.runtime import (
    Engine,
    Finishing,
    Model,
    RuntimeImage,
    SafetyChecker,
    Watermark,
)
from tests.unit.runtime.light_cluster import light_service, spec_of

OTHER = RuntimeImage.from_registry("registry.example.org/webui@sha256:" + 64 * "a")
SETTINGS = ("SD_SAFETY_CHECKER", "SD_WATERMARK")
TOKEN = Token.as_string({"Ref": "Text"})
GOOD = {
    "SD_QUEUE_URL": "q",
    "SD_DEAD_LETTER_QUEUE_URL": "d",
    "SD_RESULT_TOPIC_ARN": "t",
    "SD_OUTPUT_BUCKET": "o",
    "SD_MODEL_BUCKET": "m",
    "SD_RUNTIME_NAME": "r",
    "SD_RUNTIME_CLASS": "dynamic",
    "SD_MODELS": "[]",
    "SD_LEASE_SECONDS": "30",
    "SD_TASK_TIMEOUT_SECONDS": "30",
    "SD_DRAIN_SECONDS": "30",
    "SD_MAX_RECEIVE_COUNT": "3",
    "SD_MODEL_CACHE_DIRECTORY": "/tmp",
    "SD_MODEL_CACHE_BYTES": "1",
    "SD_HEALTH_PORT": "0",
}


def _variables(**arguments: Any) -> dict[str, str]:
    """Return the variables of a runtime's pods, which must be ones that its agent reads."""
    service = light_service()
    service.add_runtime("Any", Model.dynamic(), **arguments)
    pod = spec_of("Deployment", "any", service.template())["template"]["spec"]
    variables = {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}
    return {name: value for name, value in variables.items() if name in SETTINGS}


@pytest.mark.parametrize(
    "function",
    ["", "module", "module:", ":f", "a b:f", "a.b:f()", "a:b:c", "../a:f", "a." + 200 * "b" + ":f"],
)
def test_what_names_no_function_is_refused(function: str) -> None:
    for kind in (SafetyChecker, Watermark):
        with pytest.raises(ValueError, match=rf"{kind.__name__}\.hook: function is '.*module:func"):
            kind.hook(function)


@pytest.mark.parametrize("text", ["", "   ", "x" * 101, "a\nb", "caf\xe9"])
def test_what_cannot_be_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"Watermark\.text: text is '.*1 to 100 printable"):
        Watermark.text(text)


@pytest.mark.parametrize("made", [SafetyChecker.hook, Watermark.hook, Watermark.text])
def test_tokens_and_other_types_are_refused(made: Any) -> None:
    for value, says in ((TOKEN, "is a token"), (3, "is 3: a string")):
        with pytest.raises(ValueError, match=says):
            made(value)


def test_all_that_is_wrong_is_named_at_once() -> None:
    with pytest.raises(ValueError, match="Finishing: ") as caught:
        Finishing(safety_checker="model", watermark=True)  # type: ignore[arg-type]
    assert "safety_checker is 'model': a SafetyChecker, such as" in str(caught.value)
    assert "watermark is True: a Watermark, such as" in str(caught.value)


def test_a_function_must_be_in_an_image_that_can_have_it(tmp_path: Path) -> None:
    hooks = Finishing(
        safety_checker=SafetyChecker.hook("checks:is_unsafe"), watermark=Watermark.hook("a.b:mark")
    )
    with pytest.raises(ValueError, match="SdRuntime Service/Any: ") as caught:
        light_service().add_runtime(
            "Any", Model.dynamic(), finishing=hooks, image=RuntimeImage.from_package()
        )
    for function in ("checks:is_unsafe", "a.b:mark"):
        assert f"is the function {function}: the package's own image" in str(caught.value)
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    built = RuntimeImage.from_directory(tmp_path)
    light_service().add_runtime("Any", Model.dynamic(), finishing=hooks, image=built)


def test_the_pods_are_told() -> None:
    assert _variables() == {}
    hooks = Finishing(
        safety_checker=SafetyChecker.hook("checks:is_unsafe"), watermark=Watermark.hook("a.b:mark")
    )
    assert _variables(finishing=hooks) == {
        "SD_SAFETY_CHECKER": "checks:is_unsafe",
        "SD_WATERMARK": "a.b:mark",
    }
    own = Finishing(safety_checker=SafetyChecker.of_model(), watermark=Watermark.text("drawn"))
    assert _variables(finishing=own) == {"SD_SAFETY_CHECKER": "model", "SD_WATERMARK": "text=drawn"}


def test_an_agent_refuses_to_start_with_what_it_does_not_know() -> None:
    told = {"SD_SAFETY_CHECKER": "models", "SD_WATERMARK": "text= "}
    with pytest.raises(ValueError, match="wrong environment") as caught:
        AgentEnvironment.from_environment({**GOOD, **told})
    for name in told:
        assert f"{name} must be" in str(caught.value)
    told = {"SD_SAFETY_CHECKER": "model", "SD_WATERMARK": "text=drawn"}
    settings = AgentEnvironment.from_environment({**GOOD, **told})
    assert {name: settings.to_environment()[name] for name in told} == told


@pytest.mark.parametrize("name", ["SD_SAFETY_CHECKER", "SD_WATERMARK"])
def test_an_agent_lets_no_engine_draw_that_would_not_finish(name: str) -> None:
    """However it was told so: no picture passes unchecked."""
    other = {
        "SD_ENGINE": "comfyui",
        "SD_ENGINE_URL": "http://127.0.0.1:8188",
        "SD_ENGINE_DIRECTORY": "/tmp/engine",
    }
    AgentEnvironment.from_environment({**GOOD, **other})
    with pytest.raises(ValueError, match=f"SD_ENGINE must be diffusers where .*{name}"):
        AgentEnvironment.from_environment({**GOOD, **other, name: "checks:each"})


def test_another_engine_finishes_by_itself() -> None:
    with pytest.raises(ValueError, match="SdRuntime Service/Any: ") as caught:
        light_service().add_runtime(
            "Any",
            Model.dynamic(),
            engine=Engine.sdwebui(image=OTHER),
            finishing=Finishing(watermark=Watermark.text("drawn")),
        )
    assert "finishing is what the package's own engine does: sdwebui" in str(caught.value)
    light_service().add_runtime("Any", Model.dynamic(), engine=Engine.sdwebui(image=OTHER))
