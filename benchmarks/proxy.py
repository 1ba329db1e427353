"""A reverse proxy in front of an emulated AWS: delays calls, and spoils some.

The delays stand for a region's round trips, since the emulator answers at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from .faults import Call, Fault, FaultPlan, Kind

HOST = "127.0.0.1"
REGION_DELAYS = {"sqs.": 0.015, "sns.": 0.015, "s3.PutObject": 0.06}
"""Seconds by operation, or by its beginning."""

_LIMIT = 1 << 26
_EOF_LOOK_SECONDS = 0.05
_NO_BODY = (204, 304)
_Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True, slots=True)
class _Message:
    """A request or an answer, as it came."""

    start: list[str]
    headers: dict[str, str]
    head: bytes
    body: bytes


class Proxy:
    """Listens in a thread of its own until it is stopped."""

    def __init__(
        self,
        target_port: int,
        *,
        delays: Mapping[str, float] | None = None,
        plan: FaultPlan | None = None,
    ) -> None:
        """Prepare a proxy.

        Args:
            target_port: Where the emulated AWS listens on this machine.
            delays: Seconds by operation, or by its beginning. Default: none.
            plan: The faults. Default: none.
        """
        self._target_port = target_port
        self._delays = dict(delays or {})
        self.plan = plan or FaultPlan()
        self.port = 0
        self._listening = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """What to give as the endpoint."""
        return f"http://{HOST}:{self.port}"

    def __enter__(self) -> Proxy:
        """Start."""
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Cut every connection and stop."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._answer_all, HOST, 0, limit=_LIMIT)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _answer_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client's connection, over one connection to the target."""
        target: _Stream | None = None
        try:
            while (request := await _read(reader, answer_of=None, writer=writer)) is not None:
                call = _call(request)
                await asyncio.sleep(self._delay(call))
                fault = self.plan.decide(call)
                if fault is not None and (answer := await self._spoil(call, fault, reader)):
                    writer.write(answer)
                    continue
                if fault is not None and fault.kind in (Kind.CUT, Kind.HANG):
                    return
                if target is None:
                    target = await asyncio.open_connection(HOST, self._target_port, limit=_LIMIT)
                answer = await self._forward(request, target, reader)
                if fault is not None and fault.kind is Kind.LOSE_ANSWER:
                    return
                writer.write(answer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # One of both ends is gone.
        finally:
            for each in (writer, *(target[1:] if target else ())):
                with contextlib.suppress(Exception):
                    each.transport.abort()

    async def _forward(
        self, request: _Message, target: _Stream, client: asyncio.StreamReader
    ) -> bytes:
        reader, writer = target
        writer.write(request.head + request.body)
        await writer.drain()
        answering = asyncio.ensure_future(_read(reader, answer_of=request))
        said_goodbye = False
        while not (await asyncio.wait({answering}, timeout=_EOF_LOOK_SECONDS))[0]:
            if client.at_eof() and not said_goodbye:
                # The client wants no more of a long poll; the emulator shall know.
                said_goodbye = True
                writer.write_eof()
        answer = answering.result()
        if answer is None:
            raise ConnectionResetError
        return answer.head + answer.body

    async def _spoil(self, call: Call, fault: Fault, client: asyncio.StreamReader) -> bytes | None:
        """Do what a fault does before a call; return the answer if there is one already."""
        if fault.kind is Kind.SLOW:
            await asyncio.sleep(fault.seconds)
        elif fault.kind is Kind.HANG:
            await client.read(1)
        elif fault.kind is Kind.ERROR:
            return _error(call, 500, "InternalError")
        elif fault.kind is Kind.THROTTLE:
            status, code = _THROTTLES[call.operation.partition(".")[0]]
            return _error(call, status, code)
        elif fault.kind is Kind.DENY:
            denial = "nobody is authorized to perform: s3:GetObject"
            return _error(call, 403, "AccessDenied", denial)
        return None

    def _delay(self, call: Call) -> float:
        return next(
            (seconds for name, seconds in self._delays.items() if call.operation.startswith(name)),
            0.0,
        )


_THROTTLES = {
    "s3": (503, "SlowDown"),
    "sqs": (403, "RequestThrottled"),
    "sns": (400, "Throttling"),
}


def _error(call: Call, status: int, code: str, message: str = "no") -> bytes:
    service = call.operation.partition(".")[0]
    if service == "sqs":
        kind, body = "application/x-amz-json-1.0", json.dumps({"__type": code, "message": message})
    elif service == "sns":
        kind = "text/xml"
        body = f"<ErrorResponse><Error><Code>{code}</Code></Error></ErrorResponse>"
    else:
        kind, body = (
            "application/xml",
            f"<Error><Code>{code}</Code><Message>{message}</Message></Error>",
        )
    head = f"HTTP/1.1 {status} No\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return (head + body).encode("ascii")


def _call(request: _Message) -> Call:
    method, path = request.start[0], request.start[1].partition("?")[0]
    target = request.headers.get("x-amz-target", "")
    if target.startswith("AmazonSQS."):
        return Call(operation=f"sqs.{target.partition('.')[2]}", path=path)
    if b"Action=" in request.body[:2_000] and path == "/":
        action = request.body.partition(b"Action=")[2].partition(b"&")[0].decode("ascii")
        return Call(operation=f"sns.{action}", path=path)
    kind = "Object" if path.strip("/").count("/") else "Bucket"
    return Call(operation=f"s3.{method.capitalize()}{kind}", path=path)


async def _read(
    reader: asyncio.StreamReader,
    *,
    answer_of: _Message | None,
    writer: asyncio.StreamWriter | None = None,
) -> _Message | None:
    """Read a request, or the answer of one; None if the other side has ended."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    lines = head.decode("latin-1").split("\r\n")
    start = lines[0].split(" ", 2)
    headers = {
        name.strip().lower(): value.strip()
        for name, _, value in (line.partition(":") for line in lines[1:] if line)
    }
    if writer is not None and headers.get("expect", "").lower() == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        kept = [line for line in lines if not line.lower().startswith("expect:")]
        head = "\r\n".join(kept).encode("latin-1")
    if answer_of is not None and (answer_of.start[0] == "HEAD" or int(start[1]) in _NO_BODY):
        return _Message(start, headers, head, b"")
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return _Message(start, headers, head, await _chunks(reader))
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return _Message(start, headers, head, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    while True:
        line = await reader.readuntil(b"\r\n")
        size = int(line.partition(b";")[0], 16)
        pieces += [line, await reader.readexactly(size + 2)]
        if size == 0:
            return b"".join(pieces)
