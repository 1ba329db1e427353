"""A stand-in for Stable Diffusion web UI's API: its routes, state and answers, without its models.

Pictures are of one colour, by the seed. A step takes `step_seconds`.
"""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from tests.http_engines.http_server import Answer, Server

_SAMPLERS = ("DDIM", "DPM++ 2M", "DPM++ 2M Karras", "Euler", "Euler a", "Heun", "LCM", "UniPC")
_NOTHING = {
    "skipped": False,
    "interrupted": False,
    "job": "",
    "job_count": 0,
    "job_timestamp": "0",
    "job_no": 0,
    "sampling_step": 0,
    "sampling_steps": 0,
}


class StandInSdWebui(Server):
    """The server. It begins with a checkpoint of its own, as each web UI must."""

    def __init__(self, checkpoints: Path, *, step_seconds: float = 0.0) -> None:
        """Prepare.

        Args:
            checkpoints: Directory of its checkpoints.
            step_seconds: How long a step takes.
        """
        super().__init__()
        self.checkpoints = checkpoints
        self.step_seconds = step_seconds
        self.heeds_interruptions = True
        self.before_loading: Callable[[], None] = lambda: None
        self.fails_with: tuple[str, str] | None = None
        self.loads: list[str] = []
        self.state: dict[str, Any] = dict(_NOTHING)
        self._known: dict[str, Path] = {}
        self._loaded = ""
        self._life = 0

    def start(self) -> None:
        """Start, with nothing in memory."""
        self.state = dict(_NOTHING)
        self._known, self._loaded = {}, ""
        self._work = threading.Lock()
        self._life += 1
        self._refresh()
        super().start()

    def route(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Answer as the web UI does."""
        name = path.removeprefix("/sdapi/v1/").replace("-", "_")
        handler = getattr(self, f"_{method}_{name}", None)
        if handler is None:
            raise Answer(404, {"detail": "Not Found"})
        try:
            return handler(query, body)
        except Answer:
            raise
        except Exception as error:
            about = {"error": type(error).__name__, "detail": "", "body": "", "errors": str(error)}
            raise Answer(500, about) from None

    def _get_progress(self, query: dict[str, str], body: Any) -> Any:
        step, steps = self.state["sampling_step"], self.state["sampling_steps"]
        return {
            "progress": step / steps if steps else 0.0,
            "eta_relative": 0.0,
            "state": dict(self.state),
            "current_image": None,
            "textinfo": None,
        }

    def _post_interrupt(self, query: dict[str, str], body: Any) -> Any:
        self.state["interrupted"] = True
        return {}

    def _post_refresh_checkpoints(self, query: dict[str, str], body: Any) -> Any:
        self._refresh()

    def _get_sd_models(self, query: dict[str, str], body: Any) -> Any:
        return [
            {
                "title": title,
                "model_name": path.stem,
                "hash": None,
                "sha256": None,
                "filename": str(path),
                "config": None,
            }
            for title, path in self._known.items()
        ]

    def _get_options(self, query: dict[str, str], body: Any) -> Any:
        return {"samples_format": "png", "sd_model_checkpoint": self._loaded}

    def _post_options(self, query: dict[str, str], body: Any) -> Any:
        title = body["sd_model_checkpoint"]
        if title not in self._known:
            raise RuntimeError(f"model {title!r} not found")
        self.before_loading()
        self._load(title)

    def _post_txt2img(self, query: dict[str, str], body: Any) -> Any:
        return self._draw(body)

    def _post_img2img(self, query: dict[str, str], body: Any) -> Any:
        if not body.get("init_images"):
            raise Answer(404, {"detail": "Init image not found"})
        for data in (*body["init_images"], *([body["mask"]] if "mask" in body else [])):
            Image.open(io.BytesIO(base64.b64decode(data))).load()
        return self._draw(body)

    def _post_extra_single_image(self, query: dict[str, str], body: Any) -> Any:
        image = Image.open(io.BytesIO(base64.b64decode(body["image"])))
        scale = body["upscaling_resize"]
        larger = image.resize((image.width * scale, image.height * scale))
        return {"html_info": "", "image": _encoded(larger)}

    def _draw(self, body: dict[str, Any]) -> Any:
        for name in ("width", "height", "steps"):
            if not isinstance(body.get(name, 1), int):
                found = {"loc": ["body", name], "msg": "value is not a valid integer"}
                raise Answer(422, {"detail": [found]})
        if body.get("sampler_name", "Euler") not in _SAMPLERS:
            raise Answer(404, {"detail": "Sampler not found"})
        with self._work:
            steps, life = body.get("steps", 20), self._life
            self.state = {**_NOTHING, "job": "scripts_txt2img", "job_count": 1}
            self.state["sampling_steps"] = steps
            try:
                override = body.get("override_settings", {}).get("sd_model_checkpoint")
                if override is not None and override != self._loaded:
                    self._load(override)
                if self.fails_with is not None:
                    name, message = self.fails_with
                    raise type(name, (Exception,), {})(message)
                for step in range(steps):
                    if self.state["interrupted"] and self.heeds_interruptions:
                        break
                    time.sleep(self.step_seconds)
                    if not self.running or self._life != life:
                        raise Answer(500, {"detail": "gone"})
                    self.state["sampling_step"] = step + 1
            finally:
                if self._life == life:
                    self.state = dict(_NOTHING)
        seed = body["seed"]
        size = (body.get("width", 512), body.get("height", 512))
        image = Image.new("RGB", size, (seed % 256, seed // 256 % 256, 9))
        info = {
            "seed": seed,
            "steps": steps,
            "cfg_scale": body.get("cfg_scale", 7.0),
            "sampler_name": body.get("sampler_name", "Euler"),
            "width": size[0],
            "height": size[1],
            "version": "v1.10.1",
        }
        return {"images": [_encoded(image)], "parameters": body, "info": json.dumps(info)}

    def _refresh(self) -> None:
        found = sorted(self.checkpoints.glob("*.safetensors"))
        self._known = {f"{path.name} [0123456789]": path for path in found}

    def _load(self, title: str) -> None:
        data = self._known[title].read_bytes()
        if data == b"broken":
            # The web UI logs it, and keeps the one before.
            return
        self.loads.append(data.decode())
        self._loaded = title


def _encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
