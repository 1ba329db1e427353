"""Stable Diffusion web UI as an engine."""

from __future__ import annotations

import base64
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cdk_stable_diffusion.contract import SCHEDULERS, limits
from cdk_stable_diffusion.runtime_image.agent.engine import (
    AssetDirectory,
    EngineCancelled,
    Generation,
    Raster,
)
from cdk_stable_diffusion.runtime_image.agent.failure import TaskFailure
from cdk_stable_diffusion.runtime_image.agent.http_engines import SdWebui, http_engine
from cdk_stable_diffusion.runtime_image.agent.http_engines.sdwebui import SAMPLERS
from tests.http_engines.conftest import MakeModel
from tests.http_engines.kubelet import Kubelet
from tests.http_engines.stand_in_sdwebui import StandInSdWebui


def generation(**values: Any) -> Generation:
    defaults = {"prompt": "a red circle", "seeds": (5,), "width": 64, "height": 64, "steps": 4}
    return Generation(**{**defaults, **values})


def picture_file(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (1, 2, 3)).save(file, "JPEG")
    return file.getvalue()


def sent(server: StandInSdWebui, path: str = "txt2img") -> dict[str, Any]:
    """Return the last request."""
    bodies = [body for _, each, body in server.requests if each == f"/sdapi/v1/{path}"]
    return dict(bodies[-1])


def failure(engine: SdWebui, **values: Any) -> TaskFailure:
    with pytest.raises(TaskFailure) as caught:
        engine.generate(generation(**values), timeout=10)
    return caught.value


@pytest.fixture
def loaded(webui_engine: SdWebui, make_model: MakeModel) -> SdWebui:
    webui_engine.load(make_model("base", {"base.safetensors": b"base"}), timeout=5)
    return webui_engine


def test_a_request_is_the_web_uis(loaded: SdWebui, sdwebui: StandInSdWebui) -> None:
    drawing = loaded.generate(
        generation(negative_prompt="blur", guidance_scale=2.5, scheduler="dpmpp_2m_karras"),
        timeout=10,
    )
    (picture,) = drawing.pictures
    assert isinstance(picture, Raster)
    assert (picture.width, picture.height, picture.seed) == (64, 64, 5)
    assert picture.pixels[:3] == bytes((5, 0, 9))
    request = sent(sdwebui)
    assert request["override_settings"]["sd_model_checkpoint"].endswith("[0123456789]")
    expected = {
        "prompt": "a red circle",
        "negative_prompt": "blur",
        "seed": 5,
        "steps": 4,
        "cfg_scale": 2.5,
        "width": 64,
        "height": 64,
        "sampler_name": "DPM++ 2M Karras",
        "batch_size": 1,
        "n_iter": 1,
        "send_images": True,
        "save_images": False,
    }
    assert {name: request[name] for name in expected} == expected
    assert (drawing.parameters.steps, drawing.parameters.scheduler) == (4, "dpmpp_2m_karras")
    assert drawing.software == {"sdwebui": "v1.10.1"}


def test_schedulers_have_names_there(loaded: SdWebui) -> None:
    assert set(SAMPLERS) <= set(SCHEDULERS)
    found = failure(loaded, scheduler="of-another-engine")
    assert (found.code, found.transient) == ("unsupported-request", False)


def test_several_tasks_are_drawn_one_after_the_other(loaded: SdWebui) -> None:
    drawings = loaded.generate_together(
        [generation(seeds=(1, 2)), generation(seeds=(3,))], timeout=10
    )
    assert [[each.seed for each in drawing.pictures] for drawing in drawings] == [[1, 2], [3]]


def test_each_picture_is_a_request(loaded: SdWebui) -> None:
    rasters = loaded.generate(generation(seeds=(1, 2)), timeout=10).rasters
    assert [each.pixels[0] for each in rasters] == [1, 2]


def test_models_are_switched(
    webui_engine: SdWebui, sdwebui: StandInSdWebui, make_model: MakeModel
) -> None:
    one = make_model("one", {"one.safetensors": b"one"})
    two = make_model("two", {"two.safetensors": b"two"})
    for model in (one, one, two, one):
        webui_engine.load(model, timeout=5)
        assert webui_engine.health().model == model.digest
        webui_engine.generate(generation(), timeout=10)
    assert sdwebui.loads == ["one", "two", "one"]
    assert len(list(sdwebui.checkpoints.glob("*.safetensors"))) == 1


def test_a_web_ui_that_was_started_anew_draws_with_the_right_model(
    loaded: SdWebui, sdwebui: StandInSdWebui
) -> None:
    sdwebui.stop()
    sdwebui.start()
    # Nobody has noticed yet.
    loaded.generate(generation(), timeout=10)
    assert sdwebui.loads == ["base", "base"]


@pytest.mark.parametrize(
    ("files", "code", "says"),
    [
        ({"bad.safetensors": b"broken"}, "model-invalid", "cannot load"),
        ({"model_index.json": b"{}"}, "model-invalid", "takes one checkpoint"),
        ({"a.safetensors": b"a", "b.safetensors": b"b"}, "model-invalid", "2 .safetensors"),
    ],
    ids=["broken", "pipeline", "two"],
)
def test_a_model_that_is_no_checkpoint(
    webui_engine: SdWebui, make_model: MakeModel, files: dict[str, bytes], code: str, says: str
) -> None:
    with pytest.raises(TaskFailure) as caught:
        webui_engine.load(make_model("wrong", files), timeout=5)
    assert (caught.value.code, caught.value.transient) == (code, False)
    assert says in caught.value.detail
    assert webui_engine.health().model is None


def test_image_to_image_keeps_the_pictures_size(loaded: SdWebui, sdwebui: StandInSdWebui) -> None:
    image = picture_file(70, 41)
    drawing = loaded.generate(
        generation(task_type="image-to-image", inputs={"image": image}, width=None, height=None),
        timeout=10,
    )
    request = sent(sdwebui, "img2img")
    assert (request["width"], request["height"]) == (64, 40)
    assert base64.b64decode(request["init_images"][0]) == image
    assert drawing.parameters.strength == request["denoising_strength"] == 0.8


def test_inpainting_sends_the_mask(loaded: SdWebui, sdwebui: StandInSdWebui) -> None:
    image, mask = picture_file(64, 64), picture_file(64, 64)
    inputs = {"image": image, "mask": mask}
    loaded.generate(generation(task_type="inpainting", inputs=inputs, strength=0.5), timeout=10)
    request = sent(sdwebui, "img2img")
    assert base64.b64decode(request["mask"]) == mask
    assert (request["denoising_strength"], request["inpainting_fill"]) == (0.5, 1)


def test_a_picture_may_be_as_large_as_the_runtime_lets_it_be(
    loaded: SdWebui, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`InputImages(max_size=...)` may be more than is usual, and the agent has checked it."""
    monkeypatch.setattr(limits, "MAX_INPUT_BYTES", 10)
    drawing = loaded.generate(
        generation(task_type="image-to-image", inputs={"image": picture_file(64, 64)}), timeout=10
    )
    assert len(drawing.pictures) == 1


@pytest.mark.parametrize("field", ["prompt", "negative_prompt"])
def test_upscaling_takes_no_prompt(loaded: SdWebui, field: str) -> None:
    values = {"prompt": "", "inputs": {"image": picture_file(8, 8)}, field: "finer"}
    refused = failure(loaded, task_type="upscale", scale=2, **values)
    assert (refused.code, refused.transient) == ("unsupported-request", False)
    assert "takes no prompt" in refused.detail


def test_upscaling(loaded: SdWebui) -> None:
    upscale = Generation(
        prompt="", seeds=(0,), task_type="upscale", inputs={"image": picture_file(8, 16)}, scale=4
    )
    drawing = loaded.generate(upscale, timeout=10)
    assert (drawing.parameters.width, drawing.parameters.height) == (32, 64)
    assert (drawing.parameters.scale, drawing.parameters.steps) == (4, None)


@pytest.mark.parametrize(
    ("values", "says"),
    [({"scheduler": "pndm"}, "Sampler not found"), ({"steps": "many"}, "not a valid integer")],
    ids=["sampler", "validation"],
)
def test_what_the_web_ui_refuses_is_the_requests_fault(
    loaded: SdWebui, values: dict[str, Any], says: str
) -> None:
    found = failure(loaded, **values)
    assert (found.code, found.transient) == ("unsupported-request", False)
    assert says in found.detail


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (("OutOfMemoryError", "CUDA out of memory. Tried to allocate"), "out-of-memory"),
        (("NansException", "A tensor with NaNs was produced"), "generation-failed"),
    ],
    ids=["memory", "other"],
)
def test_an_error_may_go_well_another_time(
    loaded: SdWebui, sdwebui: StandInSdWebui, error: tuple[str, str], code: str
) -> None:
    sdwebui.fails_with = error
    found = failure(loaded)
    assert (found.code, found.transient) == (code, True)
    assert error[1] in found.detail


def test_steps_are_told(loaded: SdWebui, sdwebui: StandInSdWebui) -> None:
    sdwebui.step_seconds = 0.05
    told: list[tuple[int, int]] = []
    loaded.generate(
        generation(steps=24), timeout=10, on_step=lambda done, of: told.append((done, of))
    )
    assert told and all(of == 24 for _, of in told)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_the_deadline_interrupts_and_unfinished_pictures_are_for_nobody(
    loaded: SdWebui, sdwebui: StandInSdWebui
) -> None:
    sdwebui.step_seconds = 0.05
    with pytest.raises(TaskFailure) as caught:
        loaded.generate(generation(steps=100), timeout=0.2)
    assert (caught.value.code, caught.value.transient) == ("deadline-exceeded", True)
    assert "was interrupted" in caught.value.detail
    sdwebui.step_seconds = 0
    assert loaded.wait_until_ready(1)
    assert loaded.generate(generation(), timeout=10).pictures


def test_one_that_heeds_no_interruption_is_replaced(
    loaded: SdWebui, sdwebui: StandInSdWebui
) -> None:
    kubelet = Kubelet(sdwebui, sdwebui.checkpoints)
    sdwebui.heeds_interruptions = False
    sdwebui.step_seconds = 0.05
    with pytest.raises(TaskFailure) as caught:
        loaded.generate(generation(steps=1000), timeout=0.2)
    assert caught.value.code == "deadline-exceeded"
    kubelet.wait_for_restart()
    sdwebui.step_seconds = 0
    assert loaded.wait_until_ready(10)
    kubelet.end()
    assert (kubelet.restarts, loaded.health().model) == (1, None)


def test_cancelling_stops_within_a_step(loaded: SdWebui, sdwebui: StandInSdWebui) -> None:
    sdwebui.step_seconds = 0.02
    with pytest.raises(EngineCancelled):
        loaded.generate(
            generation(steps=1000), timeout=30, on_step=lambda done, of: loaded.cancel()
        )
    sdwebui.step_seconds = 0
    assert loaded.generate(generation(), timeout=10).pictures


def test_loading_goes_on_whoever_is_cancelled(
    loaded: SdWebui, sdwebui: StandInSdWebui, make_model: MakeModel
) -> None:
    cancelled = threading.Event()

    def cancel_and_load_on() -> None:
        loaded.cancel()
        # Longer than an interrupted engine may go on.
        cancelled.wait(1)

    sdwebui.before_loading = cancel_and_load_on
    other = make_model("other", {"other.safetensors": b"other"})
    loaded.load(other, timeout=10)
    assert sdwebui.loads[-1] == "other"
    assert loaded.health().model == other.digest
    assert not (sdwebui.checkpoints / ".replace").exists()


def test_a_restart_in_the_middle_is_a_passing_failure(
    loaded: SdWebui, sdwebui: StandInSdWebui
) -> None:
    sdwebui.step_seconds = 0.05

    def restart() -> None:
        sdwebui.stop()
        sdwebui.start()

    threading.Timer(0.2, restart).start()
    found = failure(loaded, steps=1000)
    assert (found.code, found.transient) == ("generation-failed", True)
    sdwebui.step_seconds = 0
    assert loaded.wait_until_ready(10)
    assert loaded.health().model is None


def test_closing_ends_the_running_work(loaded: SdWebui, sdwebui: StandInSdWebui) -> None:
    sdwebui.step_seconds = 0.02
    with pytest.raises(EngineCancelled):
        loaded.generate(generation(steps=1000), timeout=30, on_step=lambda done, of: loaded.close())


def test_what_is_for_another_engine_is_refused(
    loaded: SdWebui, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As a field that only the agent's own engine knows.
    others = http_engine._UNDERSTOOD - {"negative_prompt"}
    monkeypatch.setattr(http_engine, "_UNDERSTOOD", others)
    assert "negative_prompt is for the engine" in failure(loaded, negative_prompt="x").detail
    assert loaded.generate(generation(), timeout=10).pictures


def test_what_is_added_to_a_model_is_refused(loaded: SdWebui, tmp_path: Path) -> None:
    adapter = AssetDirectory(name="a", digest="d", path=tmp_path)
    said = failure(loaded, adapters=(adapter,))
    assert (said.code, said.transient) == ("unsupported-request", False)
    assert "adapters is for the engine diffusers alone" in said.detail
    assert "vae is for" in failure(loaded, vae=adapter).detail
    assert "control_image is for" in failure(loaded, inputs={"control_image": b"x"}).detail


def test_without_a_model_nothing_is_drawn(webui_engine: SdWebui) -> None:
    assert "no model is loaded" in failure(webui_engine).detail
