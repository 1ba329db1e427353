"""Stable Diffusion web UI by its HTTP API: the one of AUTOMATIC1111 and of those who follow it."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ....contract import Parameters, limits
from ....contract.task_type import INPAINTING, TEXT_TO_IMAGE, UPSCALE
from ..engine import Drawing, EngineCancelled, Generation, MadeFile, ModelDirectory, OnStep, Raster
from ..failure import TaskFailure
from ..inputs.picture import check_picture
from .client import ErrorAnswer, Unreachable
from .http_engine import HttpEngine, part_of
from .job import Job
from .made_files import made_picture

_LOOK_SECONDS = 0.25
_SHORT_SECONDS = 10.0
_FIRST_SERVER_FAULT = 500
_ORIGINAL = 1
"""What lies under the mask at first: the picture itself."""

_DEFAULT_STRENGTHS = {INPAINTING: 1.0}
_DEFAULT_STRENGTH = 0.8

SAMPLERS: Mapping[str, str] = {
    "ddim": "DDIM",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_karras": "DPM++ 2M Karras",
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "lcm": "LCM",
    "pndm": "PLMS",
    "unipc": "UniPC",
}
"""What the web UI calls the schedulers of the contract."""


class SdWebui(HttpEngine):
    """An `Engine` that is a Stable Diffusion web UI."""

    name = "sdwebui"

    _title = ""

    def _is_idle(self, timeout: float) -> bool:
        progress = self._progress(timeout)
        return not progress.get("job") and not progress.get("job_count")

    def _progress(self, timeout: float) -> dict[str, Any]:
        answer = self._client.get(
            "/sdapi/v1/progress", query={"skip_current_image": "true"}, timeout=timeout
        )
        state = answer.get("state") if isinstance(answer, dict) else None
        if not isinstance(state, dict):
            raise Unreachable("its progress has no state", refused=False)
        return state

    def _interrupt(self, timeout: float) -> None:
        self._client.post("/sdapi/v1/interrupt", {}, timeout=timeout)

    def _load(self, model: ModelDirectory, deadline: float) -> None:
        name = f"{model.digest[:32]}.safetensors"
        self._shared.show({name: _checkpoint(model)})
        self._call(deadline, lambda left: self._post("/sdapi/v1/refresh-checkpoints", {}, left))
        title = self._find(name, model)
        option = {"sd_model_checkpoint": title}
        self._call(deadline, lambda left: self._post("/sdapi/v1/options", option, left))
        # Where loading fails, the web UI says so to its log alone and goes back to the one before.
        options = self._get("/sdapi/v1/options")
        if not isinstance(options, dict) or options.get("sd_model_checkpoint") != title:
            raise TaskFailure("model-invalid", f"{self.name} cannot load model {model.name!r}")
        self._title = title

    def _find(self, name: str, model: ModelDirectory) -> str:
        """Return the title under which the web UI knows a checkpoint."""
        found = self._get("/sdapi/v1/sd-models")
        for each in found if isinstance(found, list) else ():
            if Path(str(each.get("filename", ""))).name == name:
                return str(each.get("title"))
        raise TaskFailure(
            "generation-failed",
            f"{self.name} does not list model {model.name!r}: the directory of its checkpoints "
            "must be the one that the agent fills",
            transient=True,
        )

    def _draw(self, generation: Generation, deadline: float, on_step: OnStep) -> Drawing:
        if generation.task_type == UPSCALE:
            return self._upscale(generation, deadline)
        path = "/sdapi/v1/img2img"
        if generation.task_type == TEXT_TO_IMAGE:
            path = "/sdapi/v1/txt2img"
        common = self._common(generation)
        pictures: list[Raster | MadeFile] = []
        info: dict[str, Any] = {}
        count = len(generation.seeds)
        for index, seed in enumerate(generation.seeds):
            answer = self._post_work(
                path, {**common, "seed": seed}, deadline, part_of(on_step, index, count)
            )
            info = _info(answer)
            pictures.append(_picture(answer.get("images"), seed))
        return Drawing(
            pictures=tuple(pictures),
            parameters=_parameters(generation, pictures[0], info),
            software={"sdwebui": str(info.get("version", "unknown"))[:64]},
        )

    def _common(self, generation: Generation) -> dict[str, Any]:
        """Return what all pictures of a task have in common."""
        width, height = generation.width, generation.height
        if generation.scheduler is not None and generation.scheduler not in SAMPLERS:
            self._refuse(f"it has no scheduler {generation.scheduler}")
        if "control_image" in generation.inputs:
            self._refuse("control_image is for the engine diffusers alone")
        values: dict[str, Any] = {
            "prompt": generation.prompt,
            "negative_prompt": generation.negative_prompt,
            "steps": generation.steps,
            "cfg_scale": generation.guidance_scale,
            "sampler_name": SAMPLERS[generation.scheduler] if generation.scheduler else None,
            "batch_size": 1,
            "n_iter": 1,
            # A web UI that was started anew has another one loaded.
            "override_settings": {"sd_model_checkpoint": self._title},
            "override_settings_restore_afterwards": False,
            "send_images": True,
            "save_images": False,
        }
        if generation.task_type != TEXT_TO_IMAGE:
            image = generation.inputs["image"]
            # How many bytes it may have was checked when it was fetched, by the runtime's settings.
            header = check_picture(
                image, max_bytes=len(image), max_pixels=generation.max_input_pixels
            )
            # Left out, they would be 512, whatever the picture.
            width = width or _fitting(header.width)
            height = height or _fitting(header.height)
            default = _DEFAULT_STRENGTHS.get(generation.task_type, _DEFAULT_STRENGTH)
            strength = default if generation.strength is None else generation.strength
            values["init_images"] = [_base64(image)]
            values["denoising_strength"] = strength
        if generation.task_type == INPAINTING:
            values["mask"] = _base64(generation.inputs["mask"])
            values["inpainting_fill"] = _ORIGINAL
            values["inpaint_full_res"] = False
        values.update(width=width, height=height)
        return {name: value for name, value in values.items() if value is not None}

    def _upscale(self, generation: Generation, deadline: float) -> Drawing:
        if generation.prompt or generation.negative_prompt:
            self._refuse("it upscales without drawing, and so takes no prompt")
        request = {
            "image": _base64(generation.inputs["image"]),
            "resize_mode": 0,
            "upscaling_resize": generation.scale,
            "upscaler_1": "Lanczos",
        }
        answer = self._post_work(
            "/sdapi/v1/extra-single-image", request, deadline, lambda done, of: None
        )
        seed = generation.seeds[0]
        picture = _picture([answer.get("image")], seed)
        return Drawing(
            pictures=(picture,),
            parameters=Parameters(
                width=picture.width,
                height=picture.height,
                steps=None,
                guidance_scale=None,
                seed=seed,
                scale=generation.scale,
            ),
            software={"sdwebui": "unknown"},
        )

    def _post_work(
        self, path: str, request: dict[str, Any], deadline: float, on_step: OnStep
    ) -> dict[str, Any]:
        """Have it work, and watch."""
        answer = self._call(deadline, lambda left: self._post(path, request, left), on_step)
        if not isinstance(answer, dict):
            raise TaskFailure("generation-failed", f"{self.name}: an empty answer", transient=True)
        return answer

    def _call(
        self, deadline: float, call: Callable[[float], Any], on_step: OnStep | None = None
    ) -> Any:
        # The answer to what was interrupted may take as long as the interruption.
        left = max(0.0, deadline - time.monotonic()) + self._interrupt_seconds
        job = Job(lambda: call(left))
        while not job.wait(_LOOK_SECONDS if on_step is not None else 0.1):
            # An interrupted web UI answers with unfinished pictures: they are for nobody.
            self._check(deadline, job.wait)
            if on_step is not None:
                self._tell(on_step)
        if self._closed.is_set():
            # It was interrupted.
            raise EngineCancelled
        return job.result()

    def _tell(self, on_step: OnStep) -> None:
        try:
            state = self._progress(_SHORT_SECONDS)
        except (Unreachable, ErrorAnswer):
            # The call itself shows what is wrong.
            return
        done, of = state.get("sampling_step"), state.get("sampling_steps")
        if isinstance(done, int) and isinstance(of, int) and 0 < done <= of:
            on_step(done, of)

    def _post(self, path: str, document: Any, timeout: float) -> Any:
        try:
            return self._client.post(path, document, timeout=timeout)
        except Unreachable as error:
            raise self._lost(error) from None
        except ErrorAnswer as error:
            if error.status < _FIRST_SERVER_FAULT:
                self._refuse(str(error))
            raise self._broke(str(error)) from None

    def _get(self, path: str) -> Any:
        try:
            return self._client.get(path, timeout=_SHORT_SECONDS)
        except Unreachable as error:
            raise self._lost(error) from None
        except ErrorAnswer as error:
            raise self._broke(str(error)) from None


def _checkpoint(model: ModelDirectory) -> Path:
    found = sorted(model.path.glob("*.safetensors"))
    if len(found) != 1:
        raise TaskFailure(
            "model-invalid",
            f"model {model.name!r} has {len(found)} .safetensors files at its top: sdwebui takes "
            "one checkpoint",
        )
    return found[0]


def _fitting(side: int) -> int:
    multiple = limits.SIDE_MULTIPLE_PIXELS
    return max(multiple, side // multiple * multiple)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _picture(images: Any, seed: int) -> Raster | MadeFile:
    image = images[0] if isinstance(images, list) and images else None
    try:
        # Some web UIs write it as a data URL.
        data = base64.b64decode(str(image or "").rpartition(",")[2], validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data:
        raise TaskFailure("generation-failed", "sdwebui answered without a picture", transient=True)
    return made_picture(data, seed=seed)


def _info(answer: dict[str, Any]) -> dict[str, Any]:
    try:
        info = json.loads(answer.get("info") or "{}")
    except (ValueError, TypeError):
        return {}
    return info if isinstance(info, dict) else {}


def _parameters(
    generation: Generation, picture: Raster | MadeFile, info: dict[str, Any]
) -> Parameters:
    steps, guidance = generation.steps, generation.guidance_scale
    used = info.get("steps")
    if type(used) is int and limits.MIN_STEPS <= used <= limits.MAX_STEPS:
        steps = used
    used = info.get("cfg_scale")
    if isinstance(used, (int, float)) and 0 <= used <= limits.MAX_GUIDANCE_SCALE:
        guidance = float(used)
    strength = None
    if generation.task_type != TEXT_TO_IMAGE:
        default = _DEFAULT_STRENGTHS.get(generation.task_type, _DEFAULT_STRENGTH)
        strength = default if generation.strength is None else generation.strength
    return Parameters(
        width=picture.width,
        height=picture.height,
        steps=steps,
        guidance_scale=guidance,
        seed=generation.seeds[0],
        scheduler=generation.scheduler,
        strength=strength,
    )
