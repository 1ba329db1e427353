"""Agents as processes with an engine of another container, end to end."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from tests.agent.processes import Run, ready
from tests.agent.scene import Scene, wait_until
from tests.http_engines.stand_in_comfyui import MP4, StandInComfyUi
from tests.http_engines.stand_in_sdwebui import StandInSdWebui
from tests.http_engines.workflows import workflow_files


def test_comfyui_draws_makes_videos_and_comes_back(scene: Scene, run: Run, tmp_path: Path) -> None:
    server = StandInComfyUi(tmp_path / "engine")
    server.start()
    scene.publish_model("still", workflow_files(weights="still"))
    scene.publish_model("moving", workflow_files(save="SaveVideo", weights="moving"))
    run(engine="comfyui", engine_url=server.url, engine_directory=str(server.home))
    try:
        # A request is the same as for every other engine.
        still = scene.send(model="still", prompt="a cat", seed=7, output_format="jpeg")
        (result,) = scene.wait_for_results(1)
        assert (result.status, result.images[0].content_type) == ("succeeded", "image/jpeg")
        assert result.images[0].key == f"{still.task_id}/00.jpg"
        image = Image.open(io.BytesIO(scene.read(result.images[0].key)))
        assert image.size == (64, 64)

        moving = scene.send(model="moving", prompt="a cat")
        (result,) = scene.wait_for_results(1)
        (video,) = result.images
        assert (video.key, video.content_type) == (f"{moving.task_id}/00.mp4", "video/mp4")
        assert (video.width, video.height) == (None, None)
        assert scene.read(video.key) == MP4
        assert server.loads == ["still", "moving"]

        server.stop()
        scene.send(model="still", prompt="another cat")
        server.start()
        (result,) = scene.wait_for_results(1)
        assert result.status == "succeeded"
        refused = scene.send(model="still", prompt="a cat", scheduler="euler")
        (result,) = scene.wait_for_results(1)
        assert (result.task_id, result.status) == (refused.task_id, "failed")
        assert result.error is not None and result.error.code == "unsupported-request"
    finally:
        server.stop()


def test_sdwebui_draws_and_is_warmed_up(
    scene: Scene, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = tmp_path / "engine" / "models"
    checkpoints.mkdir(parents=True)
    server = StandInSdWebui(checkpoints)
    server.start()
    scene.publish_model("base", {"base.safetensors": b"base"})
    run(
        engine="sdwebui",
        engine_url=server.url,
        engine_directory=str(tmp_path / "engine"),
        runtime_class="static",
        models=("base",),
    )
    try:
        wait_until(ready(scene), "the agent is ready")
        assert server.loads == ["base"]
        assert [path for _, path, _ in server.requests].count("/sdapi/v1/txt2img") == 1
        scene.send(model="base", prompt="a cat", num_images=2, seed=7)
        (result,) = scene.wait_for_results(1)
        assert result.status == "succeeded"
        assert [each.seed for each in result.images] == [7, 8]
        image = Image.open(io.BytesIO(scene.read(result.images[1].key)))
        assert image.getpixel((0, 0)) == (8, 0, 9)
        assert image.text["parameters"].startswith("a cat\n")  # type: ignore[attr-defined]
    finally:
        server.stop()
