"""ComfyUI by its HTTP and WebSocket API."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ....contract import Parameters
from ....contract.limits import MAX_OUTPUT_BYTES, MAX_OUTPUT_FILES
from ....contract.model import DEFAULTS_NAME
from ....contract.workflow import (
    PREFIX_INPUT,
    WORKFLOW_INPUTS_NAME,
    WORKFLOW_NAME,
    InvalidWorkflow,
    Workflow,
)
from ..engine import Drawing, EngineCancelled, Generation, MadeFile, ModelDirectory, OnStep, Raster
from ..failure import TaskFailure
from .client import ErrorAnswer, Unreachable
from .comfyui_events import Events
from .http_engine import HttpEngine, part_of
from .made_files import made_picture

_EVENT_SECONDS = 0.2
_HISTORY_SECONDS = 1.0
_SHORT_SECONDS = 10.0
_LONG_SECONDS = 60.0
_FIRST_SERVER_FAULT = 500
_NO_WEIGHTS = frozenset({WORKFLOW_NAME, WORKFLOW_INPUTS_NAME, DEFAULTS_NAME})
_KEPT = "output"
"""How ComfyUI calls files that it saves for good; others are previews."""

_MIME_TYPES = {b"\x89PNG": ("png", "image/png"), b"\xff\xd8\xff": ("jpg", "image/jpeg")}


@dataclass(frozen=True, slots=True)
class _Failed:
    """How a prompt failed."""

    interrupted: bool
    detail: str


class ComfyUi(HttpEngine):
    """An `Engine` that is a ComfyUI. Its models are workflows, see `contract.workflow`."""

    name = "comfyui"

    _workflow: Workflow
    _prompt_id: str | None = None

    def _is_idle(self, timeout: float) -> bool:
        queue = self._client.get("/queue", timeout=timeout)
        if not isinstance(queue, dict):
            raise Unreachable("its queue is no object", refused=False)
        return not queue.get("queue_running") and not queue.get("queue_pending")

    def _interrupt(self, timeout: float) -> None:
        prompt_id = self._prompt_id
        # Older ones take no prompt_id and interrupt whatever runs, which is the same here.
        if prompt_id is None:
            self._client.post("/queue", {"clear": True}, timeout=timeout)
            self._client.post("/interrupt", {}, timeout=timeout)
        else:
            self._client.post("/queue", {"delete": [prompt_id]}, timeout=timeout)
            self._client.post("/interrupt", {"prompt_id": prompt_id}, timeout=timeout)

    def _load(self, model: ModelDirectory, deadline: float) -> None:
        try:
            workflow = Workflow.read(model.path)
        except InvalidWorkflow as error:
            raise TaskFailure("model-invalid", f"model {model.name!r}: {error}") from None
        texts, folder = workflow.texts, model.digest[:16]
        shown: dict[str, Path] = {}
        renamed: dict[str, str] = {}
        for path in model.path.rglob("*"):
            kind, _, name = path.relative_to(model.path).as_posix().partition("/")
            if kind in _NO_WEIGHTS or not name or not path.is_file():
                continue
            # ComfyUI keeps what a node has loaded under a name, of a file or of its folder, also
            # where another model has it now: no two models may use the same.
            places = (name, *(each.as_posix() for each in PurePosixPath(name).parents))
            named = [each for each in places if each in texts]
            renamed.update((each, f"{folder}/{each}") for each in named)
            shown[f"{kind}/{folder}/{name}" if named else f"{kind}/{name}"] = path
        # ComfyUI loads weights when a node names them, so that is all there is to do.
        self._shared.show(shown)
        self._workflow = workflow.renamed(renamed)

    def _draw(self, generation: Generation, deadline: float, on_step: OnStep) -> Drawing:
        self._check_fields(generation)
        try:
            return self._draw_all(generation, deadline, on_step)
        except Unreachable as error:
            raise self._lost(error) from None
        except ErrorAnswer as error:
            raise self._broke(str(error)) from None
        finally:
            self._prompt_id = None
            self._shared.clear_files()

    def _draw_all(self, generation: Generation, deadline: float, on_step: OnStep) -> Drawing:
        values = self._values(generation)
        pictures: list[Raster | MadeFile] = []
        bytes_left = MAX_OUTPUT_BYTES
        count = len(generation.seeds)
        for index, seed in enumerate(generation.seeds):
            if "seed" in self._workflow.inputs:
                values["seed"] = seed
            entry = self._run(values, deadline, part_of(on_step, index, count))
            for data in self._files(entry, bytes_left):
                bytes_left -= len(data)
                pictures.append(made_picture(data, seed=seed))
                if len(pictures) > MAX_OUTPUT_FILES:
                    raise TaskFailure(
                        "generation-failed",
                        f"the workflow makes more than {MAX_OUTPUT_FILES} files",
                    )
        return Drawing(
            pictures=tuple(pictures),
            parameters=_parameters(generation, pictures[0]),
            software={"comfyui": self._version()},
        )

    def _check_fields(self, generation: Generation) -> None:
        """Refuse what the workflow does not take, and what it lacks."""
        taken = self._workflow.inputs
        given = {
            **_plain_values(generation),
            **{name: name for name in generation.inputs},
            "negative_prompt": generation.negative_prompt or None,
            "prompt": generation.prompt or None,
            "scheduler": generation.scheduler,
        }
        for name, value in given.items():
            if value is not None and name not in taken:
                self._refuse(f"this workflow does not take {name}")
        for name in ("image", "mask"):
            if name in taken and name not in generation.inputs:
                self._refuse(f"this workflow needs {name}")
        if len(generation.seeds) > 1 and "seed" not in taken:
            self._refuse("this workflow takes no seed: all its pictures would be the same")

    def _values(self, generation: Generation) -> dict[str, Any]:
        """Return what goes into the workflow, after bringing input images to ComfyUI."""
        values = {
            name: value for name, value in _plain_values(generation).items() if value is not None
        }
        for name in ("prompt", "negative_prompt"):
            if name in self._workflow.inputs:
                values[name] = getattr(generation, name)
        for name, data in generation.inputs.items():
            values[name] = self._upload(data)
        return values

    def _upload(self, data: bytes) -> str:
        ending, content_type = next(
            (kind for start, kind in _MIME_TYPES.items() if data.startswith(start)),
            ("webp", "image/webp"),
        )
        name = f"{uuid.uuid4().hex}.{ending}"
        answer = self._client.upload(
            "/upload/image",
            {"image": (name, data, content_type), "type": "input", "overwrite": "true"},
            timeout=_LONG_SECONDS,
        )
        stored, folder = answer.get("name"), answer.get("subfolder")
        if not isinstance(stored, str):
            raise TaskFailure("generation-failed", "comfyui took no input image", transient=True)
        return f"{folder}/{stored}" if folder else stored

    def _run(self, values: dict[str, Any], deadline: float, on_step: OnStep) -> dict[str, Any]:
        """Run the workflow once and return what ComfyUI's history says of it."""
        nodes = self._workflow.filled(values)
        for node in nodes.values():
            if isinstance(node["inputs"].get(PREFIX_INPUT), str):
                # ComfyUI does not repeat a node that is the same as before, and the files of that
                # are gone.
                node["inputs"][PREFIX_INPUT] = uuid.uuid4().hex
        client_id = uuid.uuid4().hex
        events = Events(self._client.host, self._client.port, client_id)
        try:
            prompt_id = self._send(nodes, client_id, values)
            self._prompt_id = prompt_id
            entry = self._follow(prompt_id, events, deadline, on_step)
        finally:
            events.close()
        failed = _failure(entry)
        if failed is None:
            return entry
        if failed.interrupted and self._closed.is_set():
            raise EngineCancelled
        if failed.interrupted:
            raise TaskFailure("generation-failed", "comfyui was interrupted", transient=True)
        raise self._broke(failed.detail)

    def _send(self, nodes: dict[str, Any], client_id: str, values: dict[str, Any]) -> str:
        try:
            answer = self._client.post(
                "/prompt", {"prompt": nodes, "client_id": client_id}, timeout=_LONG_SECONDS
            )
        except ErrorAnswer as error:
            if error.status >= _FIRST_SERVER_FAULT:
                raise
            raise self._refused(error, values) from None
        prompt_id = answer.get("prompt_id") if isinstance(answer, dict) else None
        if not isinstance(prompt_id, str):
            raise TaskFailure("generation-failed", "comfyui gave no prompt_id", transient=True)
        return prompt_id

    def _refused(self, error: ErrorAnswer, values: dict[str, Any]) -> TaskFailure:
        """Return whose fault it is that ComfyUI does not take the workflow."""
        wrong = list(_node_errors(error.document))
        of_request = {
            (place.node, place.input)
            for name in values
            for place in self._workflow.inputs.get(name, ())
        }
        asked = any((node, key) in of_request for node, key, _ in wrong)
        detail = "; ".join([error.detail, *(f"node {node}: {says}" for node, _, says in wrong)])
        return TaskFailure(
            "unsupported-request" if asked else "model-invalid",
            f"comfyui does not take the workflow: {detail}",
        )

    def _follow(
        self, prompt_id: str, events: Events, deadline: float, on_step: OnStep
    ) -> dict[str, Any]:
        """Wait until a prompt has ended, and return its entry in the history."""
        next_look = time.monotonic() + _HISTORY_SECONDS
        while True:
            message = events.next(_EVENT_SECONDS)
            ended = message is not None and _ends(message, prompt_id)
            if message is not None and not ended:
                _tell_step(message, prompt_id, on_step)
            if ended or time.monotonic() >= next_look:
                entry = self._look_up(prompt_id)
                if entry is not None:
                    return entry
                next_look = time.monotonic() + (_EVENT_SECONDS if ended else _HISTORY_SECONDS)
            self._check(deadline, lambda seconds: self._has_ended(prompt_id, seconds))

    def _look_up(self, prompt_id: str) -> dict[str, Any] | None:
        """Return a prompt's entry in the history, or None while it waits or runs."""
        try:
            entry = self._history(prompt_id)
            if entry is not None or self._is_queued(prompt_id):
                return entry
            # It may have ended between the two questions.
            entry = self._history(prompt_id)
        except Unreachable as error:
            if error.refused:
                raise
            # A node keeps it busy.
            return None
        if entry is None:
            raise TaskFailure(
                "generation-failed",
                "comfyui has lost the task: it was started anew",
                transient=True,
            )
        return entry

    def _history(self, prompt_id: str) -> dict[str, Any] | None:
        history = self._client.get(f"/history/{prompt_id}", timeout=_SHORT_SECONDS)
        entry = history.get(prompt_id) if isinstance(history, dict) else None
        return entry if isinstance(entry, dict) else None

    def _is_queued(self, prompt_id: str) -> bool:
        queue = self._client.get("/queue", timeout=_SHORT_SECONDS)
        items = [*(queue.get("queue_running") or ()), *(queue.get("queue_pending") or ())]
        return any(len(item) > 1 and item[1] == prompt_id for item in items)

    def _has_ended(self, prompt_id: str, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while True:
            try:
                if not self._is_queued(prompt_id):
                    return True
            except (Unreachable, ErrorAnswer) as error:
                # It may be too busy to answer; one that is gone draws no more.
                if isinstance(error, Unreachable) and error.refused:
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(0.1)

    def _files(self, entry: dict[str, Any], bytes_left: int) -> Iterator[bytes]:
        """Fetch the files of the result. Their names go nowhere but back to ComfyUI."""
        found = list(_results(entry, self._workflow.outputs))
        if not found:
            raise TaskFailure(
                "model-invalid",
                "the workflow has saved no file: a node that takes filename_prefix must, such as "
                "SaveImage",
            )
        for file in found[: MAX_OUTPUT_FILES + 1]:
            query = {
                "filename": str(file.get("filename", "")),
                "subfolder": str(file.get("subfolder") or ""),
                "type": str(file.get("type") or _KEPT),
            }
            data = self._client.download(
                "/view", query=query, timeout=_LONG_SECONDS, most=bytes_left
            )
            bytes_left -= len(data)
            yield data

    def _version(self) -> str:
        stats = self._client.get("/system_stats", timeout=_SHORT_SECONDS)
        system = stats.get("system") if isinstance(stats, dict) else None
        version = system.get("comfyui_version") if isinstance(system, dict) else None
        return str(version or "unknown")[:64]


def _tell_step(message: dict[str, Any], prompt_id: str, on_step: OnStep) -> None:
    """Tell of a step, if a message is about one."""
    data = message["data"]
    if message.get("type") != "progress" or data.get("prompt_id", prompt_id) != prompt_id:
        return
    done, of = data.get("value"), data.get("max")
    if type(done) is int and type(of) is int and 0 < done <= of:
        on_step(done, of)


def _ends(message: dict[str, Any], prompt_id: str) -> bool:
    """Tell whether a message says that a prompt has ended."""
    kind, data = message.get("type"), message["data"]
    if data.get("prompt_id") != prompt_id:
        return False
    if kind == "executing":
        return data.get("node") is None
    return kind in ("execution_success", "execution_error", "execution_interrupted")


def _failure(entry: dict[str, Any]) -> _Failed | None:
    status = entry.get("status")
    if not isinstance(status, dict) or status.get("status_str") != "error":
        return None
    for message in status.get("messages") or ():
        kind, data = message[0], message[1]
        if kind == "execution_interrupted":
            return _Failed(True, "")
        if kind == "execution_error":
            words = [
                data.get(name) for name in ("node_type", "exception_type", "exception_message")
            ]
            return _Failed(False, ": ".join(str(word).strip() for word in words if word))
    return _Failed(False, "the workflow failed")


def _node_errors(document: Any) -> Iterator[tuple[str, str, str]]:
    """Return node, input and words of each error in an answer."""
    errors = document.get("node_errors") if isinstance(document, dict) else None
    for node, said in (errors or {}).items() if isinstance(errors, dict) else ():
        for error in said.get("errors") or ():
            info = error.get("extra_info") or {}
            says = f"{error.get('message', '')} {error.get('details', '')}".strip()
            yield str(node), str(info.get("input_name", "")), says


def _results(entry: dict[str, Any], wanted: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Return the files of the result nodes: pictures, and what video nodes call gifs and such."""
    outputs = entry.get("outputs") or {}
    for node in wanted or sorted(outputs, key=lambda node: (len(node), node)):
        output = outputs.get(node)
        for files in output.values() if isinstance(output, dict) else ():
            for file in files if isinstance(files, list) else ():
                if not isinstance(file, dict) or "filename" not in file:
                    continue
                if wanted or file.get("type", _KEPT) == _KEPT:
                    yield file


def _plain_values(generation: Generation) -> dict[str, Any]:
    return {
        name: getattr(generation, name)
        for name in ("width", "height", "steps", "guidance_scale", "strength", "scale")
    }


def _parameters(generation: Generation, first: Raster | MadeFile) -> Parameters:
    return Parameters(
        width=first.width if first.width is not None else generation.width,
        height=first.height if first.height is not None else generation.height,
        steps=generation.steps,
        guidance_scale=generation.guidance_scale,
        seed=generation.seeds[0],
        strength=generation.strength,
        scale=generation.scale,
    )
