"""A stand-in for ComfyUI: its routes, messages and their order, its cache, without its models.

Pictures are of one colour, by the seed. KSampler takes `step_seconds` a step.
"""

from __future__ import annotations

import io
import json
import queue
import shutil
import threading
import time
import uuid
from pathlib import Path
from typing import Any

from PIL import Image

from tests.http_engines.http_server import Answer, Server, WebSocket

MP4 = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2mp41" + b"moving pictures"

_OUTPUT_NODES = ("SaveImage", "SaveTransparent", "PreviewImage", "VHS_VideoCombine", "SaveVideo")
_REQUIRED = {
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CLIPTextEncode": ("text", "clip"),
    "EmptyLatentImage": ("width", "height", "batch_size"),
    "LoadImage": ("image",),
    "KSampler": ("model", "seed", "steps", "cfg", "positive", "negative", "latent_image"),
    "VAEDecode": ("samples", "vae"),
    "SaveImage": ("images", "filename_prefix"),
    "SaveTransparent": ("images", "filename_prefix"),
    "PreviewImage": ("images",),
    "VHS_VideoCombine": ("images", "filename_prefix", "format"),
    "SaveVideo": ("images", "filename_prefix"),
}


class _Interrupted(Exception):
    pass


class StandInComfyUi(Server):
    """The server."""

    def __init__(self, home: Path, *, step_seconds: float = 0.0) -> None:
        """Prepare.

        Args:
            home: Its directory.
            step_seconds: How long a step takes.
        """
        super().__init__()
        self.home = home
        self.step_seconds = step_seconds
        self.heeds_interruptions = True
        self.fails_with: tuple[str, str] | None = None
        self.loads: list[str] = []
        self._worker: threading.Thread | None = None
        self._forget()

    def start(self) -> None:
        """Start, with nothing in memory."""
        self._forget()
        for name in ("input", "output", "temp"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        super().start()
        self._worker = threading.Thread(target=self._work, args=(self._queue,), daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """End at once."""
        super().stop()
        self._worker = None
        self._queue.put(None)

    def drop_websockets(self) -> None:
        """Break every WebSocket."""
        for each in tuple(self._sockets.values()):
            each.drop()

    def _forget(self) -> None:
        self._worker = None
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._sockets: dict[str, WebSocket] = {}
        self._pending: list[list[Any]] = []
        self._current: list[Any] | None = None
        self._history: dict[str, Any] = {}
        self._cache: dict[str, Any] = {}
        self._interrupt = threading.Event()
        self._lock = threading.RLock()
        self._number = 0

    # Routes

    def route(self, method: str, path: str, query: dict[str, str], body: Any) -> Any:
        """Answer as ComfyUI does."""
        name, _, rest = path.strip("/").partition("/")
        if (method, name) == ("get", "history") and rest:
            with self._lock:
                return {rest: self._history[rest]} if rest in self._history else {}
        handler = getattr(self, f"_{method}_{path.strip('/').replace('/', '_')}", None)
        if handler is None:
            raise Answer(404, b"404: Not Found", "text/plain")
        return handler(query, body)

    def _get_system_stats(self, query: dict[str, str], body: Any) -> Any:
        return {"system": {"os": "posix", "comfyui_version": "0.3.75"}, "devices": []}

    def _get_queue(self, query: dict[str, str], body: Any) -> Any:
        with self._lock:
            running = [self._current] if self._current is not None else []
            return {"queue_running": running, "queue_pending": list(self._pending)}

    def _post_queue(self, query: dict[str, str], body: Any) -> Any:
        with self._lock:
            gone = body.get("delete", [])
            self._pending = [
                each for each in self._pending if not body.get("clear") and each[1] not in gone
            ]
        raise Answer(200, b"", "text/plain")

    def _post_interrupt(self, query: dict[str, str], body: Any) -> Any:
        wanted = body.get("prompt_id") if isinstance(body, dict) else None
        with self._lock:
            if wanted is None or (self._current is not None and self._current[1] == wanted):
                self._interrupt.set()
        raise Answer(200, b"", "text/plain")

    def _post_upload_image(self, query: dict[str, str], body: Any) -> Any:
        name, data = body["image"]
        (self.home / "input" / name).write_bytes(data)
        return {"name": name, "subfolder": "", "type": body.get("type", "input")}

    def _get_view(self, query: dict[str, str], body: Any) -> Any:
        path = self.home / query["type"] / query.get("subfolder", "") / query["filename"]
        if not path.is_file():
            raise Answer(404, b"404: Not Found", "text/plain")
        raise Answer(200, path.read_bytes(), "application/octet-stream")

    def _post_prompt(self, query: dict[str, str], body: Any) -> Any:
        prompt = body["prompt"]
        errors = {node: found for node in prompt if (found := self._errors(prompt, node))}
        outputs = [node for node in prompt if prompt[node]["class_type"] in _OUTPUT_NODES]
        if not outputs:
            error: dict[str, Any] = {
                "type": "prompt_no_outputs",
                "message": "Prompt has no outputs",
            }
            raise Answer(
                400, {"error": {**error, "details": "", "extra_info": {}}, "node_errors": []}
            )
        if errors:
            error = {
                "type": "prompt_outputs_failed_validation",
                "message": "Prompt outputs failed validation",
                "details": "",
                "extra_info": {},
            }
            node_errors = {
                node: {
                    "errors": found,
                    "dependent_outputs": outputs,
                    "class_type": prompt[node]["class_type"],
                }
                for node, found in errors.items()
            }
            raise Answer(400, {"error": error, "node_errors": node_errors})
        prompt_id = str(body.get("prompt_id", uuid.uuid4()))
        with self._lock:
            self._number += 1
            item = [self._number, prompt_id, prompt, {"client_id": body.get("client_id")}, outputs]
            self._pending.append(item)
        self._queue.put(item)
        self._send_status()
        return {"prompt_id": prompt_id, "number": self._number, "node_errors": {}}

    def _errors(self, prompt: dict[str, Any], node: str) -> list[dict[str, Any]]:
        inputs, kind = prompt[node]["inputs"], prompt[node]["class_type"]
        found = []
        for name in _REQUIRED.get(kind, ()):
            if name not in inputs:
                found.append(_error("required_input_missing", "Required input is missing", name))
        if kind == "CheckpointLoaderSimple":
            known = self._listed("checkpoints")
            if inputs["ckpt_name"] not in known:
                details = f"ckpt_name: '{inputs['ckpt_name']}' not in {known}"
                found.append(_error("value_not_in_list", "Value not in list", "ckpt_name", details))
        if kind == "EmptyLatentImage" and inputs["width"] > 1024:
            says = "Value 1024 bigger than max of 1024"
            found.append(_error("value_bigger_than_max", says, "width", "width"))
        if kind == "LoadImage" and not (self.home / "input" / inputs["image"]).is_file():
            found.append(
                _error("custom_validation_failed", "Custom validation failed", "image", "image")
            )
        return found

    def _listed(self, folder: str) -> list[str]:
        top = self.home / "models" / folder
        return sorted(path.relative_to(top).as_posix() for path in top.rglob("*.safetensors"))

    # Messages

    def serve_websocket(self, socket: WebSocket, query: dict[str, str]) -> None:
        """Say how it is, as to every new client."""
        name = query.get("clientId") or uuid.uuid4().hex
        self._sockets[name] = socket
        status = {"status": {"exec_info": {"queue_remaining": len(self._pending)}}, "sid": name}
        socket.send(json.dumps({"type": "status", "data": status}))

    def _send(self, kind: str, data: dict[str, Any], client: str | None) -> None:
        message = json.dumps({"type": kind, "data": data})
        for name, each in tuple(self._sockets.items()):
            if client in (None, name):
                try:
                    each.send(message)
                except OSError:
                    self._sockets.pop(name, None)

    def _send_status(self) -> None:
        remaining = len(self._pending) + (self._current is not None)
        self._send("status", {"status": {"exec_info": {"queue_remaining": remaining}}}, None)

    # Work

    def _work(self, work: queue.SimpleQueue[Any]) -> None:
        while (item := work.get()) is not None:
            with self._lock:
                if item not in self._pending:
                    continue
                self._pending.remove(item)
                self._current = item
            self._execute(item)

    def _ended(self) -> bool:
        """Tell whether the process that this thread stands for is gone."""
        return threading.current_thread() is not self._worker

    def _execute(self, item: list[Any]) -> None:
        _, prompt_id, prompt, extra, outputs = item
        client = extra["client_id"]
        self._interrupt.clear()
        messages: list[Any] = []

        def tell(kind: str, data: dict[str, Any]) -> None:
            messages.append([kind, {**data, "timestamp": int(1000 * time.time())}])
            self._send(kind, messages[-1][1], client)

        tell("execution_start", {"prompt_id": prompt_id})
        keys = {node: _key(prompt, node) for node in prompt}
        cached = [node for node in prompt if keys[node] in self._cache]
        tell("execution_cached", {"nodes": cached, "prompt_id": prompt_id})
        made: dict[str, Any] = {}
        results: dict[str, Any] = {}
        success = True
        for node in _order(prompt, outputs):
            about = {"prompt_id": prompt_id, "node_id": node, "node_type": ""}
            about["node_type"] = prompt[node]["class_type"]
            if node in cached:
                made[node] = self._cache[keys[node]]
                continue
            self._send(
                "executing", {"node": node, "display_node": node, "prompt_id": prompt_id}, client
            )
            try:
                made[node], shown = self._run(prompt_id, node, prompt, made, client)
            except _Interrupted:
                tell("execution_interrupted", {**about, "executed": list(made)})
                success = False
                break
            except Exception as error:
                what = {"exception_message": str(error), "exception_type": type(error).__name__}
                tell("execution_error", {**about, "executed": list(made), **what, "traceback": []})
                success = False
                break
            self._cache[keys[node]] = made[node]
            if shown:
                results[node] = shown
                done = {"node": node, "display_node": node, "output": shown}
                self._send("executed", {**done, "prompt_id": prompt_id}, client)
        if self._ended():
            return
        if success:
            tell("execution_success", {"prompt_id": prompt_id})
        with self._lock:
            self._history[prompt_id] = {
                "prompt": item,
                "outputs": results,
                "status": {
                    "status_str": "success" if success else "error",
                    "completed": success,
                    "messages": messages,
                },
                "meta": {},
            }
            self._current = None
        self._send("executing", {"node": None, "prompt_id": prompt_id}, client)
        self._send_status()

    def _run(
        self, prompt_id: str, node: str, prompt: dict[str, Any], made: dict[str, Any], client: str
    ) -> tuple[Any, dict[str, Any]]:
        kind, raw = prompt[node]["class_type"], prompt[node]["inputs"]
        inputs = {
            name: made[value[0]] if isinstance(value, list) else value
            for name, value in raw.items()
        }
        if kind == "CheckpointLoaderSimple":
            path = self.home / "models" / "checkpoints" / inputs["ckpt_name"]
            self.loads.append(path.read_bytes().decode())
            return inputs["ckpt_name"], {}
        if kind == "LoadImage":
            with Image.open(self.home / "input" / inputs["image"]) as image:
                return (image.width, image.height), {}
        if kind == "EmptyLatentImage":
            return (inputs["width"], inputs["height"]), {}
        if kind == "KSampler":
            return self._sample(prompt_id, node, inputs, client), {}
        if kind in _OUTPUT_NODES:
            return None, self._save(kind, inputs)
        return inputs.get("samples", inputs.get("text")), {}

    def _sample(self, prompt_id: str, node: str, inputs: dict[str, Any], client: str) -> Any:
        if self.fails_with is not None:
            name, message = self.fails_with
            raise type(name, (Exception,), {})(message)
        steps = inputs["steps"]
        for step in range(1, steps + 1):
            time.sleep(self.step_seconds)
            if self._ended() or (self._interrupt.is_set() and self.heeds_interruptions):
                raise _Interrupted
            progress = {"value": step, "max": steps, "prompt_id": prompt_id, "node": node}
            self._send("progress", progress, client)
        # A preview comes as bytes.
        for each in tuple(self._sockets.values()):
            each.send(b"\0\0\0\1\0\0\0\1 preview")
        return {"size": inputs["latent_image"], "seed": inputs["seed"], "text": inputs["positive"]}

    def _save(self, kind: str, inputs: dict[str, Any]) -> dict[str, Any]:
        made = inputs["images"]
        folder = "temp" if kind == "PreviewImage" else "output"
        prefix = inputs.get("filename_prefix", "ComfyUI_temp")
        count = len(list((self.home / folder).iterdir())) + 1
        colour = (made["seed"] % 256, made["seed"] // 256 % 256, 7)
        image = Image.new("RGB", made["size"], colour)
        file = io.BytesIO()
        key, ending = "images", "png"
        if kind == "VHS_VideoCombine":
            key, ending = "gifs", "gif"
            frames = [image, Image.new("RGB", made["size"], (0, 0, 0))]
            frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
        elif kind == "SaveVideo":
            ending = "mp4"
            file.write(MP4)
        elif kind == "SaveTransparent":
            image.convert("RGBA").save(file, "PNG")
        else:
            image.save(file, "PNG")
        name = f"{prefix}_{count:05d}_.{ending}"
        (self.home / folder / name).write_bytes(file.getvalue())
        shown = {key: [{"filename": name, "subfolder": "", "type": folder}]}
        return {**shown, "animated": [True]} if kind == "SaveVideo" else shown

    def clean(self) -> None:
        """Remove its directory."""
        shutil.rmtree(self.home, ignore_errors=True)


def _error(kind: str, message: str, name: str, details: str | None = None) -> dict[str, Any]:
    return {
        "type": kind,
        "message": message,
        "details": details or name,
        "extra_info": {"input_name": name},
    }


def _key(prompt: dict[str, Any], node: str) -> str:
    """Return what decides whether a node need not run again: itself and all before it."""
    inputs = {
        name: _key(prompt, value[0]) if isinstance(value, list) else value
        for name, value in prompt[node]["inputs"].items()
    }
    return json.dumps([node, prompt[node]["class_type"], inputs], sort_keys=True)


def _order(prompt: dict[str, Any], outputs: list[str]) -> list[str]:
    done: list[str] = []

    def visit(node: str) -> None:
        for value in prompt[node]["inputs"].values():
            if isinstance(value, list):
                visit(value[0])
        if node not in done:
            done.append(node)

    for node in outputs:
        visit(node)
    return done
