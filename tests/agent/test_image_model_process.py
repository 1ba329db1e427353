"""A real agent with the real engine, whose model lies in its image and nowhere else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from cdk_stable_diffusion.contract.keys import MODEL_MANIFEST_NAME
from cdk_stable_diffusion.runtime_image.agent.write_manifests import write_manifests
from tests.agent.scene import Scene
from tools.tiny_model.classifier import judge

_ROOT = Path(__file__).parents[2]
_TINY = _ROOT / "src" / "cdk_stable_diffusion" / "local" / "models" / "tiny-shapes"
_PROMPT = "a large red circle on a blue background"
# Importing torch takes seconds, and more on a busy machine.
_SECONDS = 120.0


@pytest.mark.slow
def test_it_draws_without_the_model_bucket(scene: Scene, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(_TINY, image / "tiny-shapes")
    (manifest,) = write_manifests(image)
    for path in sorted(image.rglob("*")):
        path.chmod(0o555)
    before = {path: path.stat().st_mtime_ns for path in image.rglob("*")}
    # Nothing is in the model bucket, and no other request than for results is made of S3.
    environment = scene.with_settings(
        runtime_class="static",
        models=("tiny-shapes",),
        image_models_directory=str(image),
        task_timeout_seconds=60,
    )
    log = tmp_path / "agent.log"
    with log.open("wb") as errors:
        agent = subprocess.Popen(
            [sys.executable, "-m", "cdk_stable_diffusion.runtime_image.agent"],
            env={
                **os.environ,
                **environment.to_environment(),
                "PYTHONPATH": str(_ROOT / "src"),
                "SD_ENGINE_THREADS": "1",
            },
            stderr=errors,
        )
    try:
        scene.send(model="tiny-shapes", prompt=_PROMPT, seed=3)
        (result,) = scene.wait_for_results(1, seconds=_SECONDS)
        assert result.status == "succeeded", result.error
        agent.terminate()
        assert agent.wait(20) == 0
    finally:
        agent.kill()
        agent.wait()
    assert (result.model, result.runtime_class) == ("tiny-shapes", "static")
    (picture,) = result.images
    data = scene.read(picture.key)
    assert hashlib.sha256(data).hexdigest() == picture.sha256
    with Image.open(io.BytesIO(data)) as drawn:
        assert judge(drawn, _PROMPT).all_right
        assert manifest.digest in json.dumps(dict(drawn.info))
    assert "found in the image" in log.read_text()
    # Nothing was copied to the cache, and nothing in the image was touched.
    assert not (scene.directory / "models").exists()
    assert {path: path.stat().st_mtime_ns for path in image.rglob("*")} == before
    assert (image / "tiny-shapes" / MODEL_MANIFEST_NAME).is_file()
