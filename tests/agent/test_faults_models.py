"""Models that cannot be used, and disks that take no more: the task fails, and says of what."""

from __future__ import annotations

import json
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from cdk_stable_diffusion.contract.keys import model_manifest_key, model_prefix
from cdk_stable_diffusion.contract.model import NO_MODEL
from tests.agent.processes import AGENT, Run, log, ready
from tests.agent.scene import Scene, wait_until

_INDEX = {"model_index.json": b"{}"}
_WEIGHTS = "unet/weights.safetensors"


def test_a_model_that_cannot_be_used_fails_its_task_for_good_and_no_other(
    scene: Scene, run: Run
) -> None:
    _publish_faulty_models(scene)
    run(max_receive_count=3)
    expected = {
        "nowhere": ("model-not-found", "models/nowhere/model.json is not there"),
        "damaged": ("model-invalid", f"{_WEIGHTS} has SHA-256"),
        "cut-off": ("model-invalid", f"{_WEIGHTS} has 3 bytes instead of 7"),
        "incomplete": ("model-invalid", f"{_WEIGHTS} is in the manifest but not in the bucket"),
        "garbled": ("model-invalid", "model.json"),
        "other-format": ("model-invalid", NO_MODEL),
        "checkpoint": ("model-invalid", "model.ckpt is refused: reading it can run code"),
        "pickled": ("model-invalid", "unet/weights.bin is refused: reading it can run code"),
        "with-code": ("model-invalid", "pipeline.py is refused: reading it can run code"),
    }
    tasks = {name: scene.send(model=name) for name in expected}
    good = scene.send()
    results = {each.task_id: each for each in scene.wait_for_results(len(tasks) + 1)}
    assert results[good.task_id].status == "succeeded"
    for name, (code, says) in expected.items():
        result = results[tasks[name].task_id]
        assert result.error is not None
        assert (result.error.code, result.attempt) == (code, 1), name
        assert name in result.error.detail
        assert says in result.error.detail
    wait_until(lambda: scene.left() == (0, 0), "the queue is empty")
    assert set(run.begun().values()) == {1}


def _publish_faulty_models(scene: Scene) -> None:
    def put(name: str, path: str, data: bytes) -> None:
        key = model_prefix(name) + path
        scene.s3.put_object(Bucket=scene.model_bucket, Key=key, Body=data)

    weighty = {**_INDEX, _WEIGHTS: b"weights"}
    for name in ("damaged", "cut-off", "incomplete"):
        scene.publish_model(name, weighty)
    put("damaged", _WEIGHTS, b"stained")
    put("cut-off", _WEIGHTS, b"wei")
    scene.s3.delete_object(Bucket=scene.model_bucket, Key=model_prefix("incomplete") + _WEIGHTS)
    scene.s3.put_object(
        Bucket=scene.model_bucket, Key=model_manifest_key("garbled"), Body=b"\x80\x04K\x01."
    )
    scene.publish_model("other-format", {"model.gguf": b"weights"})
    scene.publish_model("checkpoint", {"model.ckpt": b"weights"})
    scene.publish_model("pickled", {**_INDEX, "unet/weights.bin": b"weights"})
    scene.publish_model("with-code", {**_INDEX, "pipeline.py": b"raise SystemExit"})


def test_a_disk_that_takes_no_more_fails_the_task_and_keeps_it_for_later(
    scene: Scene, run: Run
) -> None:
    """The kernel refuses the agent what is beyond a size, as it would on a full disk."""
    scene.publish_model("large", {**_INDEX, _WEIGHTS: bytes(400_000)})
    agent = run(max_receive_count=1)
    wait_until(ready(scene), "the agent is ready")
    resource.prlimit(agent.pid, resource.RLIMIT_FSIZE, (200_000, 200_000))
    task = scene.send(model="large")
    (result,) = scene.wait_for_results(1)
    assert result.error is not None and result.error.code == "generation-failed"
    assert "model 'large': the disk has no room for its 400002 bytes" in result.error.detail
    assert scene.wait_for_dead_letter()["Body"] == task.to_json()
    scene.send()
    assert scene.wait_for_results(1)[0].status == "succeeded"


@pytest.mark.chaos
def test_a_disk_that_is_smaller_than_the_cache_may_be_holds_the_models_that_are_used(
    scene: Scene, run: Run
) -> None:
    """A real file system without room, in name spaces of the agent's own."""
    if subprocess.run(["unshare", "-rm", "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    for name in ("one", "two", "three"):
        scene.publish_model(name, {**_INDEX, _WEIGHTS: name.encode() * 100_000})
    scene.publish_model("too-large", {**_INDEX, _WEIGHTS: bytes(2_000_000)})
    disk = scene.directory / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=1m sd {disk} && exec {' '.join(AGENT)}"
    run(
        command=("unshare", "-rm", "sh", "-c", mount),
        model_cache_directory=str(disk),
        max_receive_count=1,
    )
    tasks = [scene.send(model=name) for name in ("one", "two", "three", "one", "too-large")]
    results = {each.task_id: each for each in scene.wait_for_results(5)}
    statuses = [results[task.task_id].status for task in tasks]
    assert statuses == ["succeeded"] * 4 + ["failed"]
    error = results[tasks[-1].task_id].error
    assert error is not None and "the disk has no room for its 2000002 bytes" in error.detail
    assert '"evicted"' in log(scene)
    scene.send(model="two")
    assert scene.wait_for_results(1)[0].status == "succeeded"


class _Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._path,)


@pytest.mark.chaos
def test_no_file_of_a_model_runs_code_in_the_real_engine(
    scene: Scene, run: Run, tmp_path: Path
) -> None:
    tiny = Path("src/cdk_stable_diffusion/local/models/tiny-shapes")
    sprung = tmp_path / "sprung"
    pickled = pickle.dumps(_Trap(sprung))
    index = json.loads((tiny / "model_index.json").read_text())
    weights = next(
        path.relative_to(tiny).as_posix() for path in sorted((tiny / "unet").glob("*.safetensors"))
    )
    traps: dict[str, dict[str, bytes]] = {
        "a-pickle-as-weights": {weights: pickled},
        "a-pickle-beside": {"unet/diffusion_pytorch_model.bin": pickled},
        "a-checkpoint-beside": {"model.ckpt": pickled},
        "code-beside": {"pipeline.py": f"open({str(sprung)!r}, 'w')".encode()},
        "a-component-of-its-own": {
            "model_index.json": json.dumps({**index, "unet": ["os", "system"]}).encode()
        },
        "a-pipeline-of-its-own": {
            "model_index.json": json.dumps({**index, "_class_name": "os"}).encode()
        },
    }
    good = {
        path.relative_to(tiny).as_posix(): path.read_bytes()
        for path in tiny.rglob("*")
        if path.is_file() and path.name != "model.json"
    }
    for name, files in traps.items():
        scene.publish_model(name, {**good, **files})
    scene.publish_model("good", good)
    run(
        command=(sys.executable, "-m", "cdk_stable_diffusion.runtime_image.agent"),
        task_timeout_seconds=120,
        lease_seconds=30,
        model_cache_bytes=100_000_000,
    )
    tasks = {name: scene.send(model=name, steps=2) for name in traps}
    last = scene.send(model="good", steps=2)
    results = {each.task_id: each for each in scene.wait_for_results(len(traps) + 1, seconds=200)}
    assert results[last.task_id].status == "succeeded"
    for name, task in tasks.items():
        error = results[task.task_id].error
        assert error is not None and error.code == "model-invalid", name
    assert not sprung.exists()


def test_the_traps_would_spring(tmp_path: Path) -> None:
    pickle.loads(pickle.dumps(_Trap(tmp_path / "sprung")))
    assert (tmp_path / "sprung").exists()
