"""AWS on this machine: ministack, in this process, on 127.0.0.1 only."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from .aws import ISOLATION, REGION, USER_VARIABLES, AwsAccess
from .errors import LocalError
from .shim import apply_patches, check_version, use_port

HOST = "127.0.0.1"
START_SECONDS = 20.0
STOP_SECONDS = 10.0


class Emulator:
    """An emulated AWS account that lives as long as the `with` block.

    One at a time in a process, because the emulator keeps its state in modules. Lambda functions
    run as child processes on this interpreter, so they find the boto3 that is installed here.
    """

    def __init__(self, *, port: int = 0) -> None:
        """Prepare an emulator.

        Args:
            port: Port on 127.0.0.1. Default: 0, a free one.
        """
        self._wanted_port = port
        self._port = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._failure: BaseException | None = None
        self._saved_environment: dict[str, str | None] = {}

    @property
    def access(self) -> AwsAccess:
        """Where the emulated services are."""
        return AwsAccess(endpoint_url=f"http://{HOST}:{self._port}")

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def __enter__(self) -> Emulator:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def start(self) -> None:
        """Listen and answer.

        Raises:
            LocalError: If the port is taken, ministack is missing or of another version, or it does
                not come up.
        """
        global _running  # noqa: PLW0603 (the emulator's state is the process's)
        if _running is not None:
            raise LocalError("an emulator is already running in this process")
        check_version()
        listener = self._listen()
        _running = self
        try:
            self._set_environment()
            self._thread = threading.Thread(
                target=self._serve, args=(listener,), name="aws-emulator", daemon=True
            )
            self._thread.start()
            self._wait_until_it_answers()
        except BaseException:
            listener.close()
            self.stop()
            raise

    def stop(self) -> None:
        """Stop listening, end Lambda processes and forget all resources."""
        global _running  # noqa: PLW0603
        if _running is not self:
            return
        if self._loop is not None and self._stopping is not None:
            try:
                self._loop.call_soon_threadsafe(self._stopping.set)
            except RuntimeError:
                pass  # It has ended by itself.
        if self._thread is not None:
            self._thread.join(STOP_SECONDS)
        self._forget()
        self._restore_environment()
        _running = None

    def check_port(self) -> None:
        """Find out whether it could listen, before work is done that needs it.

        Raises:
            LocalError: If the port is taken.
        """
        self._listen().close()

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, self._wanted_port))
        except OSError as error:
            listener.close()
            raise LocalError(
                f"cannot listen on {HOST}:{self._wanted_port}: {error.strerror}; "
                "choose another port with --port, or 0 for a free one"
            ) from None
        self._port = int(listener.getsockname()[1])
        return listener

    def _set_environment(self) -> None:
        """Configure ministack, which reads the environment, and the Lambdas, which inherit it."""
        wanted: Mapping[str, str | None] = {
            "GATEWAY_PORT": str(self._port),
            "EDGE_PORT": None,
            "MINISTACK_HOST": HOST,
            "MINISTACK_REGION": REGION,
            "MINISTACK_ACCOUNT_ID": None,
            "LOG_LEVEL": "ERROR",
            "BIND_HOST": HOST,
            # By default it also listens on all addresses for MQTT.
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "PERSIST_STATE": "0",
            "S3_PERSIST": "0",
            "USE_SSL": "0",
            "AUTH": "false",
            # A docker daemon is neither needed nor to be touched: at start the emulator would
            # remove containers of other ministack instances.
            "DOCKER_HOST": "unix:///nonexistent/docker.sock",
            "LAMBDA_EXECUTOR": "local",
            "AWS_ENDPOINT_URL": self.access.endpoint_url,
            **_no_proxy(),
            **ISOLATION,
            **dict.fromkeys(USER_VARIABLES),
            # An endpoint for one service would win over the one for all.
            **dict.fromkeys(each for each in os.environ if each.startswith("AWS_ENDPOINT_URL_")),
        }
        self._saved_environment = {name: os.environ.get(name) for name in wanted}
        for name, value in wanted.items():
            _put(name, value)

    def _restore_environment(self) -> None:
        for name, value in self._saved_environment.items():
            _put(name, value)
        self._saved_environment = {}

    def _serve(self, listener: socket.socket) -> None:
        try:
            asyncio.run(self._serve_until_stopped(listener))
        except BaseException as error:
            self._failure = error

    async def _serve_until_stopped(self, listener: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        application = _load_application(self._port)

        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        # The open socket instead of its number: no other process can take the port in between.
        config.bind = [f"fd://{listener.detach()}"]
        config.keep_alive_timeout = 75
        config.graceful_timeout = 0.2
        config.loglevel = "ERROR"
        config.accesslog = None
        await serve(application, config, shutdown_trigger=self._until_stopped)

    async def _until_stopped(self) -> None:
        assert self._loop is not None and self._stopping is not None
        await self._stopping.wait()
        # Connections that are still open are cut now; Python 3.11 would report each.
        self._loop.set_exception_handler(lambda loop, context: None)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._failure is not None or self._thread is None or not self._thread.is_alive():
                raise LocalError(f"the AWS emulator did not start: {self._failure}")
            connection = http.client.HTTPConnection(HOST, self._port, timeout=1)
            try:
                connection.request("GET", "/_ministack/health")
                if connection.getresponse().status == http.client.OK:
                    return
            except OSError:
                time.sleep(0.01)
            finally:
                connection.close()
        raise LocalError(f"the AWS emulator did not answer within {START_SECONDS:.0f} s")

    def _forget(self) -> None:
        """Empty the emulator's modules, so that a next one starts empty; this ends Lambdas too."""
        if (application := sys.modules.get("ministack.app")) is not None:
            application._reset_all_state()
        if (lambdas := sys.modules.get("ministack.core.lambda_runtime")) is not None:
            lambdas.reset()


_running: Emulator | None = None


def _load_application(port: int) -> Any:
    """Import ministack with the environment set, and mend it."""
    logging.getLogger("kms").addFilter(_is_worth_saying)
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    from ministack.app import app

    # Its import configures logging for the whole process; that is ours to decide.
    root.handlers[:] = handlers
    root.setLevel(level)
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    use_port(port)
    apply_patches()
    return app


_QUIET_LOGGERS = ("hypercorn.error", "ministack", "cloudformation", "lambda", "lambda_runtime")
"""What they have to say about failures comes back in answers too."""


def _is_worth_saying(record: logging.LogRecord) -> bool:
    """Drop the emulator's remark on signatures with KMS keys, which nothing here makes."""
    return not record.getMessage().startswith("cryptography package not installed")


def _no_proxy() -> dict[str, str]:
    """Keep what goes to this machine from the user's HTTP proxy."""
    names = ("no_proxy", "NO_PROXY")
    present = next((os.environ[name] for name in names if os.environ.get(name)), "")
    return dict.fromkeys(names, ",".join(filter(None, (present, HOST, "localhost"))))


def _put(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
