"""``sd-local``: the whole service on this machine, and a client for it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ..contract import TaskAccepted
from ..contract.environment import AgentEnvironment, variable_name
from .errors import LocalError
from .installation import version
from .publishing import SHIPPED_MODEL

DEFAULT_PORT = 4566
INTERRUPTED = 130
MAX_WORKERS = 64

AGENT_VARIABLES = (
    *(variable_name(each.name) for each in fields(AgentEnvironment)),
    "SD_ENGINE_THREADS",
)
"""All variables of the agents' own; what else they see is for the libraries below them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: The command line. Default: that of the process.

    Returns:
        The exit code.
    """
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except LocalError as error:
        print(f"sd-local: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sd-local", description="Run the whole service on this machine, without an account."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser(
        "up",
        help="bring the service up until Ctrl-C",
        description="Synthesise an app, deploy its template to an emulated AWS on 127.0.0.1 and "
        "run its agents. The first line of standard output is a JSON object that says where "
        "everything is; all else is said on standard error.",
    )
    up.add_argument(
        "--port",
        type=_port,
        default=DEFAULT_PORT,
        help="port on 127.0.0.1, 0 for a free one (default: %(default)s)",
    )
    up.add_argument(
        "--workers",
        type=_workers,
        default=1,
        help="agents for each runtime (default: %(default)s)",
    )
    up.add_argument(
        "--app",
        type=Path,
        help="directory with a cdk.json, or Python file, of an app (default: the quickstart)",
    )
    up.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME=DIRECTORY",
        help="publish a model's directory as model NAME, or a .safetensors file that is added "
        "to models; may be repeated",
    )
    up.add_argument(
        "--set",
        action="append",
        default=[],
        type=_agent_setting,
        metavar="NAME=VALUE",
        dest="settings",
        help="environment variable of every agent, such as SD_LEASE_SECONDS=10; may be repeated",
    )
    up.set_defaults(run=_up)

    submit = commands.add_parser(
        "submit",
        help="send a prompt to the running service",
        description="Send a prompt to the API's route. Prints the API's answer as JSON or, with "
        "--wait, the result and the pictures' files.",
    )
    submit.add_argument(
        "prompt", help='what the picture shall show; "" where an upscale takes none'
    )
    submit.add_argument("--model", default=SHIPPED_MODEL, help="default: %(default)s")
    submit.add_argument("--seed", type=int, help="default: derived from the task's id")
    submit.add_argument(
        "--set",
        action="append",
        default=[],
        type=_field,
        metavar="FIELD=VALUE",
        dest="fields",
        help="any other field of the request, such as steps=12 or negative_prompt=blurry; the "
        "value is JSON, or else text; may be repeated",
    )
    submit.add_argument("--wait", action="store_true", help="wait, and save the pictures")
    submit.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIRECTORY",
        help="where --wait saves the pictures (default: the current directory)",
    )
    submit.add_argument(
        "--timeout",
        type=_positive,
        default=300,
        metavar="SECONDS",
        help="how long --wait waits (default: %(default)s)",
    )
    submit.set_defaults(run=_submit)

    status = commands.add_parser(
        "status",
        help="say how a task is",
        description="Print what the API says of a task as JSON: its result or, until there is one, "
        "whether it is queued, running or being cancelled, and how far it is.",
    )
    status.set_defaults(run=_status)

    cancel = commands.add_parser(
        "cancel",
        help="cancel a task",
        description="Ask for a task's cancellation, and print what the API says of it as JSON. A "
        "task that waits never runs, and one that runs stops within seconds.",
    )
    cancel.set_defaults(run=_cancel)

    for each in (status, cancel):
        each.add_argument("task", metavar="TASK", help="the task's id, as submit prints it")
        each.add_argument(
            "--output-prefix",
            default="",
            metavar="PREFIX",
            help="the output_prefix of the task's request (default: none)",
        )
    for each in (submit, status, cancel):
        each.add_argument(
            "--port",
            type=_port,
            help="port of the service (default: that of the one that was started last)",
        )
    return parser


def _up(options: argparse.Namespace) -> int:
    from .interruption import interruptible
    from .publishing import parse_model_options
    from .service import LocalService
    from .state import remove_state, write_state

    models = parse_model_options(options.model)
    with interruptible() as interruption:
        service = LocalService(
            app=options.app,
            port=options.port,
            workers=options.workers,
            models=models,
            agent_environment=dict(options.settings),
            say=_say,
            check=interruption.check,
        )
        try:
            with service:
                write_state(service.details)
                print(json.dumps(service.details), flush=True)
                _say_how_to_use(service.details)
                interruption.wait()
                _say("stopping")
        except KeyboardInterrupt:
            pass  # Asked to end while it came up, which is no failure.
        finally:
            remove_state()
    return 0


def _submit(options: argparse.Namespace) -> int:
    from .client import Client, failures, prepare_directory
    from .state import read_state

    client = Client.of(read_state(options.port))
    if options.wait:
        prepare_directory(options.output)
    task: dict[str, Any] = {"model": options.model, "prompt": options.prompt}
    task.update(options.fields)
    if options.seed is not None:
        task["seed"] = options.seed
    accepted = client.submit(task)
    if not options.wait:
        print(json.dumps(accepted.to_dict()))
        return 0
    _say(f"task {accepted.task_id} waits for runtime {accepted.runtime}")
    try:
        result = client.wait(accepted, timeout_seconds=options.timeout)
    except KeyboardInterrupt:
        # Who does not want to wait may want the picture even so.
        _say(f"task {accepted.task_id} goes on; to end it: {_cancel_command(options, accepted)}")
        raise
    if faults := failures([result]):
        raise LocalError("\n".join(faults))
    files = client.save(result, options.output)
    print(json.dumps({**result.to_dict(), "files": [str(each) for each in files]}))
    return 0


def _status(options: argparse.Namespace) -> int:
    from .client import Client
    from .state import read_state

    client = Client.of(read_state(options.port))
    print(json.dumps(client.status(options.task, options.output_prefix)))
    return 0


def _cancel(options: argparse.Namespace) -> int:
    from .client import Client
    from .state import read_state

    client = Client.of(read_state(options.port))
    print(json.dumps(client.cancel(options.task, options.output_prefix)))
    return 0


def _cancel_command(options: argparse.Namespace, accepted: TaskAccepted) -> str:
    words = ["sd-local", "cancel", accepted.task_id]
    if prefix := parse_qs(urlsplit(accepted.task_path).query).get("output_prefix"):
        words += ["--output-prefix", prefix[0]]
    if options.port is not None:
        words += ["--port", str(options.port)]
    return " ".join(words)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _say_how_to_use(details: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(stderr=True)
    table = Table("runtime", "class", "models", "lanes")
    for each in details["runtimes"]:
        models = ", ".join(each["models"]) or "any other"
        table.add_row(each["name"], each["class"], models, str(each["lanes"]))
    console.print(table)
    port = int(details["aws_endpoint_url"].rpartition(":")[2])
    chosen = "" if port == DEFAULT_PORT else f" --port {port}"
    _say(f'up: try  sd-local submit{chosen} "a large red circle on a blue background" --wait')
    _say("Ctrl-C ends it")


def _port(text: str) -> int:
    return _whole_number(text, 0, 65_535)


def _positive(text: str) -> int:
    return _whole_number(text, 1, 1_000_000)


def _workers(text: str) -> int:
    return _whole_number(text, 1, MAX_WORKERS)


def _agent_setting(text: str) -> tuple[str, str]:
    name, value = _pair(text, "NAME=VALUE")
    if name.startswith("SD_") and name not in AGENT_VARIABLES:
        raise argparse.ArgumentTypeError(
            f"no variable of the agents is called {name}: there are {', '.join(AGENT_VARIABLES)}"
        )
    return name, value


def _field(text: str) -> tuple[str, Any]:
    name, value = _pair(text, "FIELD=VALUE")
    try:
        # NaN and Infinity are no JSON, whatever Python takes them for.
        return name, json.loads(value, parse_constant=_refuse_constant)
    except ValueError:
        return name, value


def _refuse_constant(text: str) -> Any:
    raise ValueError(text)


def _pair(text: str, form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"must be {form}")
    return name, value


def _whole_number(text: str, least: int, most: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if not least <= value <= most:
        raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}")
    return value


if __name__ == "__main__":
    sys.exit(main())
