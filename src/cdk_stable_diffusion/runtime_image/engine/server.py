"""Serving the agent's commands: a thread that reads them, and the main thread that does them."""

from __future__ import annotations

import logging
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, Protocol

from ...contract.environment import variable_name
from ..frames import BrokenFrames, Frame, FrameReader, FrameWriter
from ..told_steps import ToldSteps
from .failure import BrokenDevice, Cancelled, EngineFailure

_LOG = logging.getLogger(__name__)
_MAX_DETAIL = 2_000
_EXIT_BROKEN_DEVICE = 70


class _Diffusion(Protocol):
    device: str

    def load(self, directory: Path, digest: str) -> str: ...

    def warm(self, directory: Path, digest: str) -> None: ...

    @property
    def most_pictures(self) -> int | None: ...

    def draw(self, order: Any, on_step: Any, cancelled: Any) -> Any: ...

    def draw_together(self, orders: Any, on_step: Any, cancelled: Any) -> Any: ...


class Server:
    """Answers commands until the pipe closes, which ends the process."""

    def __init__(self, reader: FrameReader, writer: FrameWriter) -> None:
        """Take over the pipes.

        Args:
            reader: Commands come from here.
            writer: Answers go there.
        """
        self._reader = reader
        self._writer = writer
        self._commands: queue.SimpleQueue[Frame] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._state = "importing"
        self._digest: str | None = None
        self._diffusion: _Diffusion | None = None

    def run(self) -> None:
        """Serve. Does not return: the process ends when the pipe closes."""
        threading.Thread(target=self._read, name="commands", daemon=True).start()
        started = time.monotonic()
        from .libraries import import_libraries

        import_libraries()
        from .diffusion import Diffusion
        from .finishing import Finishing

        # A function that cannot be imported ends the process: nothing may be drawn without it.
        diffusion = Diffusion(
            Finishing.from_environment(os.environ),
            memory_cache_bytes=int(os.environ.get(variable_name("memory_cache_bytes"), "0")),
            told=lambda held: self._writer.write({"event": "held", "held": dict(held)}),
        )
        seconds = round(time.monotonic() - started, 3)
        _LOG.info("imported", extra={"seconds": seconds, "device": diffusion.device})
        self._state, self._diffusion = "idle", diffusion
        self._writer.write({"event": "ready", "device": diffusion.device, "seconds": seconds})
        while True:
            frame = self._commands.get()
            self._do(frame.header, diffusion, frame.payload)

    def _read(self) -> None:
        try:
            while (frame := self._reader.read()) is not None:
                header = frame.header
                command = header.get("command")
                if command == "cancel":
                    self._cancelled.add(header["id"])
                elif command == "health":
                    self._answer(header, "done", state=self._state, model=self._digest)
                elif command == "warm":
                    self._warm(header)
                else:
                    self._commands.put(frame)
        except (BrokenFrames, OSError) as error:
            _LOG.error("pipe: %s", error)
        finally:
            # The agent is gone or wants this to end; nothing here is worth finishing.
            os._exit(0)

    def _warm(self, header: dict[str, Any]) -> None:
        # What is wanted while there is nothing to do is loaded the next moment, which is quicker.
        if self._diffusion is not None and self._state != "idle":
            self._diffusion.warm(Path(header["directory"]), header["digest"])

    def _do(self, header: dict[str, Any], diffusion: _Diffusion, payload: bytes = b"") -> None:
        try:
            if header["command"] == "load":
                self._load(header, diffusion)
            elif header["command"] == "generate":
                self._generate(header, diffusion, payload)
            elif header["command"] == "generate_together":
                self._generate_together(header, diffusion)
            else:
                raise EngineFailure("generation-failed", f"no command {header['command']!r}")
        except Cancelled:
            self._answer(header, "cancelled")
        except EngineFailure as failure:
            _LOG.warning("%s failed", header["command"], exc_info=failure.__cause__ is not None)
            self._fail(header, failure)
            if isinstance(failure, BrokenDevice):
                os._exit(_EXIT_BROKEN_DEVICE)
        except Exception as error:
            _LOG.exception("%s failed", header.get("command"))
            detail = f"{type(error).__name__}: {error}"
            self._fail(header, EngineFailure("generation-failed", detail))
        finally:
            self._state = "idle"
            self._cancelled.discard(header.get("id", 0))

    def _load(self, header: dict[str, Any], diffusion: _Diffusion) -> None:
        self._state = "loading"
        self._digest = None
        started = time.monotonic()
        tier = diffusion.load(Path(header["directory"]), header["digest"])
        self._digest = header["digest"]
        seconds = round(time.monotonic() - started, 3)
        self._answer(header, "done", tier=tier, seconds=seconds)

    def _generate(self, header: dict[str, Any], diffusion: _Diffusion, payload: bytes) -> None:
        self._begin_to_generate(header)
        pictures, parameters = diffusion.draw(_order(header, payload), *self._watching(header))
        self._send(header, pictures)
        self._end(header, diffusion, parameters)

    def _generate_together(self, header: dict[str, Any], diffusion: _Diffusion) -> None:
        self._begin_to_generate(header)
        orders = [_order(each, b"") for each in header["orders"]]
        drawn = diffusion.draw_together(orders, *self._watching(header))
        for place, (pictures, _) in enumerate(drawn):
            self._send(header, pictures, order=place)
        self._end(header, diffusion, [parameters for _, parameters in drawn])

    def _begin_to_generate(self, header: dict[str, Any]) -> None:
        self._state = "generating"
        if header["id"] in self._cancelled:
            raise Cancelled

    def _watching(self, header: dict[str, Any]) -> tuple[Any, Any]:
        """Return what to call after each step: to say so, and to ask whether to stop."""
        told = ToldSteps()

        def on_step(step: int, steps: int) -> None:
            if told.includes(step, steps):
                self._answer(header, "step", step=step, steps=steps)

        return on_step, lambda: header["id"] in self._cancelled

    def _send(self, header: dict[str, Any], pictures: Any, **values: int) -> None:
        for picture in pictures:
            self._writer.write(
                {
                    "id": header["id"],
                    "event": "picture",
                    "width": picture.width,
                    "height": picture.height,
                    "seed": picture.seed,
                    **values,
                },
                picture.pixels,
            )

    def _end(self, header: dict[str, Any], diffusion: _Diffusion, parameters: Any) -> None:
        self._answer(
            header,
            "done",
            parameters=parameters,
            software=_software(),
            most_pictures=diffusion.most_pictures,
        )

    def _answer(self, header: dict[str, Any], event: str, **values: Any) -> None:
        self._writer.write({"id": header.get("id"), "event": event, **values})

    def _fail(self, header: dict[str, Any], failure: EngineFailure) -> None:
        self._answer(
            header,
            "failed",
            code=failure.code,
            detail=failure.detail[:_MAX_DETAIL],
            transient=failure.transient,
            broken=isinstance(failure, BrokenDevice),
        )


def _order(header: dict[str, Any], payload: bytes) -> Any:
    from .diffusion import Order

    return Order(
        prompt=header["prompt"],
        negative_prompt=header["negative_prompt"],
        seeds=tuple(header["seeds"]),
        width=header["width"],
        height=header["height"],
        steps=header["steps"],
        guidance_scale=header["guidance_scale"],
        scheduler=header["scheduler"],
        **_additions(header, payload),
    )


_ADDITIONS = (
    "task_type",
    "strength",
    "scale",
    "max_input_pixels",
    "control_scale",
    "clip_skip",
)


def _additions(header: dict[str, Any], payload: bytes) -> dict[str, Any]:
    """Return what a command says beyond drawing from a text, its files taken from the payload.

    The header's ``inputs`` holds the length of each file by its field's name, in the order in which
    they lie in the payload.
    """
    additions = {name: header[name] for name in _ADDITIONS if header.get(name) is not None}
    additions |= _assets(header)
    start = 0
    for name, length in header.get("inputs", {}).items():
        if name not in ("image", "mask", "control_image"):
            raise EngineFailure("generation-failed", "the command holds a file without a use")
        additions[name] = payload[start : start + length]
        start += length
    if start != len(payload):
        raise EngineFailure("generation-failed", "the command's files are not as it says")
    return additions


def _assets(header: dict[str, Any]) -> dict[str, Any]:
    """Return what a command adds to the model."""
    from .asset_files import Asset

    assets: dict[str, Any] = {
        name: tuple(Asset(**{**each, "directory": Path(each["directory"])}) for each in values)
        for name in ("adapters", "embeddings", "vae")
        if (values := header.get(name))
    }
    if "vae" in assets:
        (assets["vae"],) = assets["vae"]
    return assets


def _software() -> dict[str, str]:
    import diffusers
    import torch
    import transformers

    return {
        "diffusers": diffusers.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
