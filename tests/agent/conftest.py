"""An emulated AWS for the agent's tests, and agents as processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.proxy import Proxy
from tests.agent.emulated import emulated_aws
from tests.agent.processes import Run
from tests.agent.scene import Aws, Scene


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    """Start an emulated AWS of this test process's own."""
    with emulated_aws() as aws:
        yield aws


@pytest.fixture
def scene(aws: Aws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    """Make queues, topic and buckets of this test's own."""
    for name, value in aws.environment.items():
        monkeypatch.setenv(name, value)
    return Scene(aws, tmp_path)


@pytest.fixture
def run(scene: Scene) -> Iterator[Run]:
    """Run agents as processes, and see that none is left."""
    scene.publish_model()
    run = Run(scene)
    yield run
    run.end()


@pytest.fixture
def proxy(aws: Aws) -> Iterator[Proxy]:
    """Stand between the agents of a test and the emulated AWS."""
    with Proxy(aws.port) as proxy:
        yield proxy
