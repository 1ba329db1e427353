"""Where the models of tasks were, as CloudWatch finds it in the agent's log."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from cdk_stable_diffusion.runtime_image.agent.service import Agent
from cdk_stable_diffusion.runtime_image.structured_log import JsonFormatter
from tests.agent.fake_engine import FakeEngine, KeepsOne
from tests.agent.scene import FILES, Scene


def _metrics(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    lines = [json.loads(JsonFormatter({}).format(record)) for record in caplog.records]
    return [line for line in lines if "_aws" in line]


def _run(scene: Scene, names: list[str], engine: FakeEngine | None = None, **settings: Any) -> None:
    agent = Agent(scene.with_settings(**settings), engine or KeepsOne(), scene.clients())
    agent.start()
    try:
        for model in names:
            scene.send(model=model)
            scene.wait_for_results(1)
    finally:
        agent.shutdown.request(0.0)
        agent._intake.stop(2.0)
        agent._give_back()


def test_each_pass_says_where_its_model_was(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cdk_stable_diffusion")
    for model in ("one", "two"):
        scene.publish_model(model, {**FILES, "name.txt": model.encode()})
    _run(scene, ["one", "one", "two", "one"])
    lines = _metrics(caplog)
    names = [
        {metric["Name"] for each in line["_aws"]["CloudWatchMetrics"] for metric in each["Metrics"]}
        for line in lines
    ]
    assert names == [
        {"ModelHitsS3", "ModelLoads"},
        {"ModelHitsGpu"},
        {"ModelHitsS3", "ModelLoads"},
        {"ModelHitsDisk", "ModelLoads"},
    ]
    queue = scene.queue.rpartition("/")[2]
    for line, present in zip(lines, names, strict=True):
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == "CdkStableDiffusion"
        assert directive["Dimensions"] == [["Runtime", "Queue"]]
        assert (line["Runtime"], line["Queue"]) == ("shapes-runtime", queue)
        assert [line[name] for name in present] == [1] * len(present)


def test_what_was_brought_ahead_counts_by_where_it_came_from(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "cdk_stable_diffusion")
    scene.publish_model()
    # It is in the host's memory when the engine is to load it.
    _run(scene, ["shapes"], engine=FakeEngine())
    (line,) = _metrics(caplog)
    assert line["ModelHitsS3"] == 1


def test_a_static_runtime_says_nothing(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "cdk_stable_diffusion")
    scene.publish_model()
    _run(scene, ["shapes"], runtime_class="static", models=("shapes",))
    assert not _metrics(caplog)
