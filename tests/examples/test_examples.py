"""Every example synthesises as a user runs it, is clean under cdk-nag, and has a snapshot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from tests.snapshots.scrub import without_hashes

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/cdk.json"))


def synthesise_with_nag(
    app: Path, outdir: Path, context: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Run an app as the CDK would, with cdk-nag attached."""
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(outdir),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    command = [sys.executable, str(Path(__file__).with_name("synth_with_nag.py")), str(app)]
    return subprocess.run(command, env=environment, cwd=app.parent, capture_output=True, text=True)


@pytest.fixture(scope="session", params=EXAMPLES, ids=lambda path: path.name)
def synthesised(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """An example's folder and its cloud assembly, made with cdk-nag attached."""
    example: Path = request.param
    outdir = tmp_path_factory.mktemp(example.name)
    settings = json.loads((example / "cdk.json").read_text())
    done = synthesise_with_nag(example / "app.py", outdir, settings["context"])
    assert done.returncode == 0, done.stdout + done.stderr
    return example, outdir


def templates(outdir: Path) -> dict[str, dict[str, Any]]:
    return {
        path.name.removesuffix(".template.json"): json.loads(path.read_text())
        for path in sorted(outdir.glob("*.template.json"))
    }


def test_its_templates_are_as_before(
    synthesised: tuple[Path, Path], snapshot: SnapshotAssertion
) -> None:
    found = {name: without_hashes(template) for name, template in templates(synthesised[1]).items()}
    assert found == snapshot(extension_class=JSONSnapshotExtension)


def test_cdk_nag_has_nothing_to_say(synthesised: tuple[Path, Path]) -> None:
    report = json.loads((synthesised[1] / "validation-report.json").read_text())
    assert [v["ruleName"] for plugin in report["pluginReports"] for v in plugin["violations"]] == []


def test_cdk_nag_would_say_something(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "import aws_cdk as cdk\n"
        "app = cdk.App()\n"
        "cdk.aws_sqs.Queue(cdk.Stack(app, 'Stack'), 'WithoutDeadLetters')\n"
        "app.synth()\n"
    )
    done = synthesise_with_nag(app, tmp_path, {})
    assert done.returncode != 0
    assert "AwsSolutions-SQS3" in done.stdout + done.stderr


def test_no_template_is_larger_than_cloudformation_takes(synthesised: tuple[Path, Path]) -> None:
    for name in templates(synthesised[1]):
        assert (synthesised[1] / f"{name}.template.json").stat().st_size < 1_000_000
        assert len(templates(synthesised[1])[name]["Resources"]) < 500


def test_it_is_explained(synthesised: tuple[Path, Path]) -> None:
    example = synthesised[0]
    readme = (example / "README.md").read_text()
    assert readme.startswith("# ")
    assert "cdk deploy" in readme
