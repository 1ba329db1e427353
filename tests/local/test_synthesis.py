"""How an app is found and run, and what its author sees when it fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from cdk_stable_diffusion.local.errors import LocalError
from cdk_stable_diffusion.local.synthesis import App, Synthesis, find_app

WRITES_ASSEMBLY = """
import json, os, pathlib
out = pathlib.Path(os.environ["CDK_OUTDIR"])
out.mkdir()
context = json.loads(os.environ["CDK_CONTEXT_JSON"])
(out / "manifest.json").write_text(json.dumps({"context": context}))
"""


def app_of(directory: Path, source: str) -> App:
    (directory / "app.py").write_text(source)
    return find_app(directory / "app.py")


def run(app: App, output: Path) -> None:
    with Synthesis(app, output) as synthesis:
        synthesis.wait()


def test_the_quickstart_is_the_default() -> None:
    assert find_app().directory.name == "quickstart"


def test_an_app_gets_the_context_of_its_cdk_json(tmp_path: Path) -> None:
    (tmp_path / "cdk.json").write_text(
        json.dumps({"app": "python3 app.py", "context": {"answer": 42}})
    )
    (tmp_path / "cdk.context.json").write_text('{"zones": ["a", "b"]}')
    (tmp_path / "app.py").write_text(WRITES_ASSEMBLY)
    for path in (tmp_path, tmp_path / "app.py"):
        app = find_app(path)
        assert app.command[0] == sys.executable
        output = tmp_path / f"out-{path.name}"
        run(app, output)
        assert json.loads((output / "manifest.json").read_text()) == {
            "context": {"answer": 42, "zones": ["a", "b"]}
        }


def test_all_that_a_failing_app_said_is_shown(tmp_path: Path) -> None:
    app = app_of(tmp_path, "import sys; print('half'); sys.exit('Model.static() needs a name')")
    with pytest.raises(LocalError) as raised:
        run(app, tmp_path / "out")
    assert "exit code 1" in str(raised.value)
    assert "half" in str(raised.value)
    assert "Model.static() needs a name" in str(raised.value)


def test_an_app_without_synth_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match=r"does it call app\.synth\(\)"):
        run(app_of(tmp_path, "pass"), tmp_path / "out")


def test_an_app_that_is_no_longer_wanted_is_ended(tmp_path: Path) -> None:
    app = app_of(tmp_path, "import time; time.sleep(600)")
    with pytest.raises(KeyboardInterrupt), Synthesis(app, tmp_path / "out") as synthesis:
        process = synthesis._process
        raise KeyboardInterrupt
    assert process is not None
    assert process.returncode is not None


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (None, "no cdk.json"),
        ("{", "is not JSON"),
        ("[]", "must hold a JSON object"),
        ("{}", "no cdk.json with an 'app' command"),
        ('{"app": "no-such-command"}', "cannot run the app"),
    ],
)
def test_a_directory_without_an_app_is_refused(
    tmp_path: Path, settings: str | None, says: str
) -> None:
    if settings is not None:
        (tmp_path / "cdk.json").write_text(settings)
    with pytest.raises(LocalError, match=says):
        run(find_app(tmp_path), tmp_path / "out")


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="no app at"):
        find_app(tmp_path / "nothing.py")
