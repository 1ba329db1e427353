"""Stand-ins for the engines' servers, and engines that speak with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdk_stable_diffusion.runtime_image.agent.engine import ModelDirectory
from cdk_stable_diffusion.runtime_image.agent.http_engines import ComfyUi, SdWebui
from tests.http_engines.stand_in_comfyui import StandInComfyUi
from tests.http_engines.stand_in_sdwebui import StandInSdWebui

MakeModel = Callable[[str, dict[str, bytes]], ModelDirectory]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Return what writes a model's directory."""

    def make(name: str, files: dict[str, bytes]) -> ModelDirectory:
        directory = tmp_path / "cache" / name
        for path, data in files.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
        digest = hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()
        return ModelDirectory(name=name, digest=digest, path=directory)

    return make


@pytest.fixture
def comfyui(tmp_path: Path) -> Iterator[StandInComfyUi]:
    """Run a ComfyUI whose directory is the shared one."""
    server = StandInComfyUi(tmp_path / "shared")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def engine(comfyui: StandInComfyUi) -> Iterator[ComfyUi]:
    """Speak with it."""
    engine = ComfyUi(comfyui.url, comfyui.home, interrupt_seconds=0.5)
    engine.start()
    assert engine.wait_until_ready(5)
    yield engine
    engine.close()


@pytest.fixture
def sdwebui(tmp_path: Path) -> Iterator[StandInSdWebui]:
    """Run a web UI whose checkpoints are the shared directory's."""
    checkpoints = tmp_path / "shared" / "models"
    checkpoints.mkdir(parents=True)
    server = StandInSdWebui(checkpoints)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def webui_engine(sdwebui: StandInSdWebui) -> Iterator[SdWebui]:
    """Speak with it."""
    engine = SdWebui(sdwebui.url, sdwebui.checkpoints.parent, interrupt_seconds=0.5)
    engine.start()
    assert engine.wait_until_ready(5)
    yield engine
    engine.close()
