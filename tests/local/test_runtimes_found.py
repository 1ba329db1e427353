"""Runtimes are read from the manifests that the app deploys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cdk_stable_diffusion.contract import AgentEnvironment
from cdk_stable_diffusion.local.errors import LocalError
from cdk_stable_diffusion.local.runtimes import Runtime, check_engines, find_runtimes

SETTINGS = AgentEnvironment(
    queue_url="http://127.0.0.1/q",
    dead_letter_queue_url="http://127.0.0.1/d",
    result_topic_arn="arn:aws:sns:us-east-1:000000000000:t",
    output_bucket="output",
    model_bucket="models",
    runtime_name="tiny",
    runtime_class="static",
    models=("tiny-shapes",),
    lease_seconds=30,
    task_timeout_seconds=300,
    drain_seconds=100,
    max_receive_count=3,
    model_cache_directory="/models",
    model_cache_bytes=1,
    health_port=8080,
)


def deployment(environment: dict[str, str], **metadata: Any) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {
            "name": "tiny",
            "labels": {
                "app.kubernetes.io/name": "cdk-stable-diffusion",
                "app.kubernetes.io/component": "agent",
            },
            **metadata,
        },
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {"name": "logs", "env": [{"name": "SD_QUEUE_URL", "value": "wrong"}]},
                        {
                            "name": "agent",
                            "env": [
                                {"name": "NODE", "valueFrom": {}},
                                *({"name": k, "value": v} for k, v in environment.items()),
                            ],
                        },
                    ]
                }
            }
        },
    }


def test_the_agents_container_says_what_its_runtime_is() -> None:
    others = [[{"kind": "Namespace", "metadata": {}}], [{"kind": "Deployment", "metadata": {}}]]
    (runtime,) = find_runtimes([*others, [deployment(SETTINGS.to_environment())]])
    assert runtime.settings == SETTINGS
    assert runtime.to_dict() == {
        "name": "tiny",
        "class": "static",
        "models": ["tiny-shapes"],
        "lanes": 1,
    }


def test_the_agents_container_says_how_many_lanes_its_runtime_has() -> None:
    settings = replace(
        SETTINGS,
        runtime_class="dynamic",
        models=(),
        lane_queue_urls=(SETTINGS.queue_url, "http://127.0.0.1/q1", "http://127.0.0.1/q2"),
        overflow_queue_url="http://127.0.0.1/overflow",
        members_service="stable-diffusion/members-tiny",
    )
    (runtime,) = find_runtimes([[deployment(settings.to_environment())]])
    assert runtime.settings == settings
    assert runtime.to_dict()["lanes"] == 3


def test_an_app_without_a_runtime_is_told_so() -> None:
    with pytest.raises(LocalError, match="no SdRuntime"):
        find_runtimes([[deployment(SETTINGS.to_environment(), labels={})]])


def test_a_deployment_that_cannot_be_read_is_named() -> None:
    with pytest.raises(LocalError, match=r"Deployment tiny: .*SD_MODELS"):
        find_runtimes([[deployment({**SETTINGS.to_environment(), "SD_MODELS": "x"})]])


def runtime(name: str, engine: str) -> Runtime:
    return Runtime(settings=replace(SETTINGS, runtime_name=name, engine=engine))


GIVEN = {"SD_ENGINE_URL": "http://127.0.0.1:8188", "SD_ENGINE_DIRECTORY": "/tmp/comfy"}


def test_an_engine_of_another_container_must_run_already() -> None:
    runtimes = [runtime("own", "diffusers"), runtime("flow", "comfyui")]
    with pytest.raises(LocalError, match=r"flow \(comfyui\)") as caught:
        check_engines(runtimes, {}, workers=1)
    assert "--set SD_ENGINE_URL=... --set SD_ENGINE_DIRECTORY=..." in str(caught.value)
    check_engines(runtimes, GIVEN, workers=1)
    check_engines(runtimes[:1], {}, workers=8)
    # Or the agent's own draws instead.
    check_engines(runtimes, {"SD_ENGINE": "diffusers"}, workers=2)


@pytest.mark.parametrize(("runtimes", "workers"), [(1, 2), (2, 1)])
def test_such_an_engine_draws_for_one_agent(runtimes: int, workers: int) -> None:
    found = [runtime(f"flow{number}", "comfyui") for number in range(runtimes)]
    with pytest.raises(LocalError, match="there would be 2"):
        check_engines(found, GIVEN, workers=workers)
