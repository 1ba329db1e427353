"""What the commands accept, and how they say no."""

from __future__ import annotations

import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from cdk_stable_diffusion.contract import ResultMessage, TaskAccepted
from cdk_stable_diffusion.local import cli, client, model_cli, state
from cdk_stable_diffusion.local.client import Client
from cdk_stable_diffusion.local.errors import LocalError
from cdk_stable_diffusion.local.publishing import model_directories, parse_model_options

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/*/README.md")]
PARSERS = {"sd-local": cli._parser, "sd-model": model_cli._parser}


def _commands(page: Path) -> list[str]:
    """Return the command lines of a page's shell examples."""
    text = page.read_text("utf-8")
    blocks = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    lines = blocks.replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith(("sd-local ", "sd-model "))]


COMMANDS = [(page, line) for page in sorted(PAGES) for line in _commands(page)]


@pytest.mark.parametrize(
    ("page", "line"), COMMANDS, ids=[f"{page.parent.name}-{line}" for page, line in COMMANDS]
)
def test_a_command_line_of_the_documentation_is_accepted(page: Path, line: str) -> None:
    words = shlex.split(line.split(" | tee")[0], comments=True)
    PARSERS[words[0]]().parse_args(words[1:])


def test_command_lines_of_the_documentation_are_found() -> None:
    assert {"README.md", "engines.md"} <= {page.name for page, _ in COMMANDS}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["up", "--port", "65536"], "0 to 65535"),
        (["up", "--port", "x"], "0 to 65535"),
        (["up", "--workers", "0"], "1 to 64"),
        (["up", "--workers", "65"], "1 to 64"),
        (["up", "--set", "SD_LEASE_SECONDS"], "must be NAME=VALUE"),
        (["up", "--set", "SD_LEASE_SECOND=10"], "there are SD_QUEUE_URL, "),
        (["submit"], "prompt"),
        (["status"], "TASK"),
        (["cancel", "id-1", "--port", "x"], "0 to 65535"),
        (["submit", "a red circle", "--set", "steps"], "must be FIELD=VALUE"),
        ([], "COMMAND"),
    ],
)
def test_a_wrong_command_line_is_refused(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        cli.main(arguments)
    assert raised.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("name", ["SD_LEASE_SECONDS", "SD_ENGINE_THREADS", "OMP_NUM_THREADS"])
def test_variables_of_agents_and_of_their_libraries_are_accepted(name: str) -> None:
    assert cli._agent_setting(f"{name}=10") == (name, "10")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("7.5", 7.5),
        ('{"user": 1}', {"user": 1}),
        ('"12"', "12"),
        ("blurry, a=b", "blurry, a=b"),
        ("NaN", "NaN"),
        ("", ""),
    ],
)
def test_a_field_is_json_or_else_text(text: str, value: object) -> None:
    assert cli._field(f"field={text}") == ("field", value)


@pytest.mark.parametrize("command", [cli, model_cli])
def test_the_version_is_that_of_the_package(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(["--version"])
    assert raised.value.code == 0
    assert capsys.readouterr().out.split() == [
        {cli: "sd-local", model_cli: "sd-model"}[command],
        metadata.version("cdk-stable-diffusion"),
    ]


def test_a_taken_port_is_told_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = tmp_path / "app.py"
    app.write_text("raise ValueError('the app ran')")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert cli.main(["up", "--app", str(app), "--port", str(port)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"sd-local: cannot listen on 127.0.0.1:{port}")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("bucket", ["bucket", "s3://", "s3://bucket/folder", "http://bucket"])
def test_a_model_goes_to_a_bucket_and_nowhere_else(
    bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        model_cli.main(["push", ".", bucket])
    assert "must be s3://BUCKET" in capsys.readouterr().err


def test_a_directory_without_a_model_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert model_cli.main(["push", str(tmp_path / "none"), "s3://bucket"]) == 1
    assert "is not there" in capsys.readouterr().err
    assert model_cli.main(["push", str(tmp_path), "s3://bucket"]) == 1
    assert "model_index.json" in capsys.readouterr().err


def test_a_failure_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["submit", "a red circle"]) == 1
    assert capsys.readouterr().err == (
        "sd-local: no service runs on this machine: start one with 'sd-local up'\n"
    )


def test_ctrl_c_ends_the_waiting_and_not_the_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Impatient(Client):
        def submit(self, task: Mapping[str, Any]) -> TaskAccepted:
            path = "/v1/tasks/id-1?output_prefix=shop/7"
            return TaskAccepted("id-1", "m", "r", "static", "s3://b/", "now", path)

        def wait(self, *_: Any, **__: Any) -> ResultMessage:
            raise KeyboardInterrupt

    monkeypatch.setattr(client, "Client", Impatient)
    monkeypatch.setattr(
        state,
        "read_state",
        lambda port: {"endpoint": "", "api_key": "", "aws_endpoint_url": "", "region": ""},
    )
    assert cli.main(["submit", "a red circle", "--wait", "--port", "4567"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == (
        "task id-1 goes on; to end it: sd-local cancel id-1 --output-prefix shop/7 --port 4567"
    )


def test_an_app_that_fails_shows_its_own_error_and_not_ours(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    app = tmp_path / "app.py"
    app.write_text("raise ValueError(\"SdRuntime 'App/Sdxl': max_replicas is 0: at least 1\")")
    assert cli.main(["up", "--app", str(app), "--port", "0"]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert f"synthesising {app}\n" in err
    assert "max_replicas is 0: at least 1" in err
    assert "synthesis.py" not in err


def test_help_costs_no_heavy_import() -> None:
    code = (
        "import sys; from cdk_stable_diffusion.local import cli, model_cli\n"
        "assert not {'boto3', 'rich', 'ministack', 'aws_cdk', 'torch', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_model_options_name_directories(tmp_path: Path) -> None:
    directories = parse_model_options([f"mine={tmp_path}", "stand-in=tiny-shapes"])
    assert directories["mine"] == tmp_path
    assert directories["stand-in"].name == "tiny-shapes"


def test_all_wrong_model_options_are_named(tmp_path: Path) -> None:
    with pytest.raises(LocalError) as raised:
        parse_model_options(["mine", f"other={tmp_path}/none"])
    assert "--model mine: must be NAME=DIRECTORY" in str(raised.value)
    assert "none is not there" in str(raised.value)


def test_a_model_that_only_the_user_has_must_be_given(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="--model sdxl=DIRECTORY"):
        model_directories(["sdxl", "tiny-shapes"], {})
    assert model_directories(["sdxl"], {"sdxl": tmp_path})["sdxl"] == tmp_path
