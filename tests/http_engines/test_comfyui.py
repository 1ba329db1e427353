"""ComfyUI as an engine."""

from __future__ import annotations

import io
import threading
from typing import Any

import pytest
from PIL import Image

from cdk_stable_diffusion.runtime_image.agent.engine import (
    EngineCancelled,
    Generation,
    MadeFile,
    Raster,
)
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.http_engines import ComfyUi
from tests.http_engines.conftest import MakeModel
from tests.http_engines.kubelet import Kubelet
from tests.http_engines.stand_in_comfyui import MP4, StandInComfyUi
from tests.http_engines.workflows import image_workflow_files, workflow_files


def generation(**values: Any) -> Generation:
    return Generation(**{"prompt": "a red circle", "seeds": (5,), **values})


def picture_file(width: int = 16, height: int = 24) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (1, 2, 3)).save(file, "PNG")
    return file.getvalue()


def sent(server: StandInComfyUi) -> dict[str, Any]:
    """Return the nodes of the last prompt."""
    prompts = [body["prompt"] for method, path, body in server.requests if path == "/prompt"]
    return dict(prompts[-1])


def failure(engine: ComfyUi, **values: Any) -> TaskFailure:
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(**values), timeout=10)
    return caught.value


def test_a_request_fills_the_workflow(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    told: list[tuple[int, int]] = []
    drawing = engine.generate(
        generation(negative_prompt="blur", width=128, height=64, steps=3, guidance_scale=2.5),
        timeout=10,
        on_step=lambda done, of: told.append((done, of)),
    )
    (picture,) = drawing.pictures
    assert isinstance(picture, Raster)
    assert (picture.width, picture.height, picture.seed) == (128, 64, 5)
    assert picture.pixels[:3] == bytes((5, 0, 7))
    nodes = sent(comfyui)
    assert nodes["6"]["inputs"]["text"] == "a red circle"
    assert nodes["7"]["inputs"]["text"] == "blur"
    assert {name: nodes["3"]["inputs"][name] for name in ("seed", "steps", "cfg")} == {
        "seed": 5,
        "steps": 3,
        "cfg": 2.5,
    }
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (drawing.parameters.width, drawing.parameters.steps) == (128, 3)
    assert drawing.software == {"comfyui": "0.3.75"}


def test_what_a_request_leaves_out_stays_the_workflows_own(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    drawing = engine.generate(generation(), timeout=10)
    assert sent(comfyui)["3"]["inputs"]["steps"] == 4
    assert (drawing.parameters.width, drawing.parameters.steps) == (64, None)


def test_each_picture_has_its_seed_and_steps_are_counted_over_all(
    engine: ComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    told: list[tuple[int, int]] = []
    drawing = engine.generate(
        generation(seeds=(1, 2, 3), steps=2),
        timeout=10,
        on_step=lambda done, of: told.append((done, of)),
    )
    assert [each.seed for each in drawing.pictures] == [1, 2, 3]
    assert [each.pixels[0] for each in drawing.rasters] == [1, 2, 3]
    assert told == [(done, 6) for done in range(1, 7)]


def test_the_same_task_again_has_its_picture_in_spite_of_the_cache(
    engine: ComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    first, second = (engine.generate(generation(), timeout=10) for _ in range(2))
    assert first.pictures == second.pictures


def test_the_files_of_a_task_are_cleared(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", image_workflow_files()), timeout=5)
    engine.generate(generation(inputs={"image": picture_file()}), timeout=10)
    assert [list((comfyui.home / name).iterdir()) for name in ("input", "output", "temp")] == [
        [],
        [],
        [],
    ]


def test_an_input_image_is_brought_to_comfyui(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", image_workflow_files()), timeout=5)
    drawing = engine.generate(
        generation(inputs={"image": picture_file()}, strength=0.5, task_type="image-to-image"),
        timeout=10,
    )
    assert (drawing.parameters.width, drawing.parameters.height) == (16, 24)
    assert drawing.parameters.strength == sent(comfyui)["3"]["inputs"]["denoise"] == 0.5
    name = sent(comfyui)["10"]["inputs"]["image"]
    assert name.endswith(".png") and "/" not in name


@pytest.mark.parametrize(
    ("save", "content_type", "size"),
    [
        ("VHS_VideoCombine", "image/gif", (64, 64)),
        ("SaveVideo", "video/mp4", (None, None)),
        ("SaveTransparent", "image/png", (64, 64)),
    ],
)
def test_what_moves_or_is_transparent_stays_a_file(
    engine: ComfyUi,
    make_model: MakeModel,
    save: str,
    content_type: str,
    size: tuple[int | None, int | None],
) -> None:
    engine.load(make_model("draw", workflow_files(save=save)), timeout=5)
    (made,) = engine.generate(generation(), timeout=10).pictures
    assert isinstance(made, MadeFile)
    assert made.content_type == content_type
    assert (made.width, made.height, made.seed) == (*size, 5)
    if save == "SaveVideo":
        assert made.data == MP4


def test_previews_are_no_result_and_named_nodes_are(engine: ComfyUi, make_model: MakeModel) -> None:
    images = {"images": ["8", 0]}
    others = {
        "20": {"class_type": "PreviewImage", "inputs": images},
        "21": {"class_type": "SaveVideo", "inputs": {**images, "filename_prefix": "video"}},
    }
    engine.load(make_model("all", workflow_files(nodes=others)), timeout=5)
    made = engine.generate(generation(), timeout=10).pictures
    assert [type(each) for each in made] == [Raster, MadeFile]
    named = workflow_files(nodes=others, outputs=["21"], weights="other")
    engine.load(make_model("named", named), timeout=5)
    (made_file,) = engine.generate(generation(), timeout=10).pictures
    assert isinstance(made_file, MadeFile)


def test_a_workflow_that_saves_nothing_is_the_models_fault(
    engine: ComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files(save="PreviewImage")), timeout=5)
    found = failure(engine)
    assert (found.code, found.transient) == ("model-invalid", False)


def test_a_model_sees_its_own_files_alone(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    one = make_model("one", workflow_files(weights="one"))
    two = make_model("two", workflow_files(weights="two"))
    for model, weights in ((one, "one"), (two, "two"), (one, "one")):
        assert engine.load(model, timeout=5) == "disk"
        assert engine.load(model, timeout=5) == "gpu"
        health = engine.health()
        assert (health.model, health.held) == (model.digest, {model.digest: "gpu"})
        engine.generate(generation(), timeout=10)
        shown = [each for each in (comfyui.home / "models").rglob("*") if each.is_file()]
        assert [each.read_text() for each in shown] == [weights]
    # Both call their weights the same, and ComfyUI keeps what it has loaded by name.
    assert comfyui.loads == ["one", "two"]


def test_a_folder_that_is_named_gets_a_name_of_the_models_own(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    loader = {"class_type": "DiffusersLoader", "inputs": {"model_path": "tiny"}}
    files = {
        **workflow_files(nodes={"30": loader}),
        "diffusers/tiny/unet/config.json": b"{}",
        "embeddings/style.safetensors": b"style",
    }
    model = make_model("folder", files)
    engine.load(model, timeout=5)
    engine.generate(generation(), timeout=10)
    own = model.digest[:16]
    assert sent(comfyui)["30"]["inputs"]["model_path"] == f"{own}/tiny"
    top = comfyui.home / "models"
    shown = {path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()}
    # A prompt names the last, as no input does.
    assert shown == {
        f"checkpoints/{own}/base.safetensors",
        f"diffusers/{own}/tiny/unet/config.json",
        "embeddings/style.safetensors",
    }


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"workflow.json": b"{}"}, "must be an object of nodes"),
        ({"workflow.json": b'{"nodes": [], "links": []}'}, "export it for the API"),
        ({"workflow.json": b'{"1": {"class_type": "A"}}'}, "/1: must have a class_type and inputs"),
        ({"workflow.json": b"{"}, "is not JSON"),
        ({"workflow_inputs.json": b'{"inputs": {"seed": [{"node": "99", "input": "x"}]}}'}, "'99'"),
        (
            {"workflow_inputs.json": b'{"inputs": {"seed": [{"node": "3", "input": "sed"}]}}'},
            "no input 'sed'",
        ),
        ({"workflow_inputs.json": b'{"inputs": {"lora": []}}'}, "lora"),
        (
            {"workflow_inputs.json": b'{"inputs": {}, "outputs": [{"node": "8"}]}'},
            "filename_prefix",
        ),
        (
            {"workflow.json": b'{"1": {"class_type": "A", "inputs": {"f": "/etc/passwd"}}}'},
            "leaves the model's directory",
        ),
        (
            {"workflow.json": b'{"1": {"class_type": "A", "inputs": {"f": "a/../../b"}}}'},
            "leaves the model's directory",
        ),
    ],
    ids=[
        "empty",
        "editor",
        "no-inputs",
        "json",
        "node",
        "input",
        "field",
        "output",
        "absolute",
        "parent",
    ],
)
def test_a_wrong_workflow_is_the_models_fault(
    engine: ComfyUi, make_model: MakeModel, files: dict[str, bytes], says: str
) -> None:
    with pytest.raises(TaskFailure) as caught:
        engine.load(make_model("wrong", {**workflow_files(), **files}), timeout=5)
    assert (caught.value.code, caught.value.transient) == ("model-invalid", False)
    assert says in caught.value.detail


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"scheduler": "euler"}, "does not take scheduler"),
        ({"scale": 2}, "does not take scale"),
        ({"inputs": {"image": b"x"}}, "does not take image"),
        ({"width": 2048}, "bigger than max"),
    ],
    ids=["scheduler", "scale", "image", "too-wide"],
)
def test_what_the_workflow_cannot_do_is_the_requests_fault(
    engine: ComfyUi, make_model: MakeModel, values: dict[str, Any], says: str
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    found = failure(engine, **values)
    assert (found.code, found.transient) == ("unsupported-request", False)
    assert says in found.detail


def test_a_missing_image_or_seed_is_the_requests_fault(
    engine: ComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", image_workflow_files()), timeout=5)
    assert "needs image" in failure(engine).detail
    engine.load(make_model("still", workflow_files(places={"seed": None})), timeout=5)
    assert "takes no seed" in failure(engine, seeds=(1, 2)).detail
    assert len(engine.generate(generation(), timeout=10).pictures) == 1


def test_a_missing_weight_is_the_models_fault(engine: ComfyUi, make_model: MakeModel) -> None:
    files = workflow_files()
    del files["checkpoints/base.safetensors"]
    engine.load(make_model("draw", files), timeout=5)
    found = failure(engine)
    assert (found.code, found.transient) == ("model-invalid", False)
    assert "node 4: Value not in list" in found.detail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (("OutOfMemoryError", "Allocation on device"), "out-of-memory"),
        (("RuntimeError", "mat1 and mat2 shapes"), "generation-failed"),
    ],
    ids=["memory", "other"],
)
def test_an_error_in_a_node_may_go_well_another_time(
    engine: ComfyUi,
    comfyui: StandInComfyUi,
    make_model: MakeModel,
    error: tuple[str, str],
    code: str,
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.fails_with = error
    found = failure(engine)
    assert (found.code, found.transient) == (code, True)
    assert error[1] in found.detail and "KSampler" in found.detail
    comfyui.fails_with = None
    assert engine.generate(generation(), timeout=10).pictures


def test_a_broken_gpu_gets_a_new_engine(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    kubelet = Kubelet(comfyui, comfyui.home / "models")
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.fails_with = ("AcceleratorError", "CUDA error: an illegal memory access")
    assert failure(engine).transient
    kubelet.wait_for_restart()
    comfyui.fails_with = None
    assert engine.wait_until_ready(10)
    kubelet.end()
    assert (kubelet.restarts, engine.health().model) == (1, None)


def test_the_deadline_interrupts(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.step_seconds = 0.05
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(steps=100), timeout=0.3)
    assert (caught.value.code, caught.value.transient) == ("deadline-exceeded", True)
    assert "was interrupted" in caught.value.detail
    comfyui.step_seconds = 0
    # It is the same one, and takes the next task.
    assert engine.wait_until_ready(1)
    assert engine.generate(generation(), timeout=10).pictures
    assert engine.health().model is not None


def test_one_that_heeds_no_interruption_is_replaced(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    kubelet = Kubelet(comfyui, comfyui.home / "models")
    model = make_model("draw", workflow_files())
    engine.load(model, timeout=5)
    comfyui.heeds_interruptions = False
    comfyui.step_seconds = 0.05
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(steps=1000), timeout=0.2)
    assert caught.value.code == "deadline-exceeded"
    assert "is replaced" in caught.value.detail
    assert not engine.health().ready
    kubelet.wait_for_restart()
    comfyui.step_seconds = 0
    assert engine.wait_until_ready(10)
    assert engine.health().model is None
    engine.load(model, timeout=5)
    assert engine.generate(generation(), timeout=10).pictures
    kubelet.end()
    assert kubelet.restarts == 1


def test_cancelling_stops_within_a_step(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.step_seconds = 0.02
    with pytest.raises(EngineCancelled):
        engine.generate(
            generation(steps=1000), timeout=30, on_step=lambda done, of: engine.cancel()
        )
    comfyui.step_seconds = 0
    engine.cancel()
    assert engine.generate(generation(), timeout=10).pictures


def test_a_restart_in_the_middle_loses_the_task_and_not_the_agent(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    model = make_model("draw", workflow_files())
    engine.load(model, timeout=5)
    comfyui.step_seconds = 0.05
    begun = threading.Event()

    def restart() -> None:
        begun.wait(10)
        comfyui.stop()
        comfyui.start()

    restarter = threading.Thread(target=restart)
    restarter.start()
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(steps=1000), timeout=30, on_step=lambda done, of: begun.set())
    restarter.join(10)
    assert (caught.value.code, caught.value.transient) == ("generation-failed", True)
    comfyui.step_seconds = 0
    assert engine.wait_until_ready(10)
    engine.load(model, timeout=5)
    assert engine.generate(generation(), timeout=10).pictures


def test_a_lost_websocket_costs_only_the_steps(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.step_seconds = 0.02
    drawing = engine.generate(
        generation(steps=20), timeout=30, on_step=lambda done, of: comfyui.drop_websockets()
    )
    assert len(drawing.pictures) == 1


def test_one_that_is_not_there_is_not_ready(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.stop()
    assert not engine.wait_until_ready(0.2)
    health = engine.health()
    assert (health.running, health.ready, health.model) == (False, False, None)
    comfyui.start()
    assert engine.wait_until_ready(10)
    assert failure(engine).transient


def test_one_that_is_gone_at_the_prompt_is_a_passing_failure(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.stop()
    found = failure(engine)
    assert (found.code, found.transient) == ("generation-failed", True)


def test_what_an_agent_before_has_left_is_interrupted(
    comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    comfyui.step_seconds = 0.05
    first = ComfyUi(comfyui.url, comfyui.home)
    first.load(make_model("draw", workflow_files()), timeout=5)
    begun = threading.Event()

    def draw() -> None:
        with pytest.raises(EngineCancelled):
            first.generate(generation(steps=1000), timeout=60, on_step=lambda done, of: begun.set())

    drawing = threading.Thread(target=draw)
    drawing.start()
    assert begun.wait(10)
    # As when the agent's process is killed: nobody tells the engine to stop.
    first._try_to_interrupt = lambda timeout: None  # type: ignore[method-assign]
    first.close()
    drawing.join(10)
    second = ComfyUi(comfyui.url, comfyui.home)
    assert second.wait_until_ready(5)
    second.close()


def test_names_of_files_go_nowhere_but_back(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    files = workflow_files()
    files["workflow.json"] = files["workflow.json"].replace(b'"ComfyUI"', b'"a b/&type=x"')
    engine.load(make_model("draw", files), timeout=5)
    engine.generate(generation(), timeout=10)
    assert "&" not in sent(comfyui)["9"]["inputs"]["filename_prefix"]


def test_one_that_shall_go_is_not_used_again(
    engine: ComfyUi, comfyui: StandInComfyUi, make_model: MakeModel
) -> None:
    engine.load(make_model("draw", workflow_files()), timeout=5)
    comfyui.fails_with = ("AcceleratorError", "CUDA error: an illegal memory access")
    assert failure(engine).transient
    # It answers and has nothing to do, but its GPU is broken: Kubernetes will come round.
    assert not engine.wait_until_ready(0.7)
    comfyui.stop()
    assert not engine.wait_until_ready(0.2)
    comfyui.start()
    assert engine.wait_until_ready(5)
