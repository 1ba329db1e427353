"""Every example synthesises as a user runs it, passes every check, and has a snapshot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from tests.manifests.template import manifests_of
from tests.manifests.validator import faults_of
from tests.nag.policies import Statement, statements
from tests.nag.table import WILDCARDS
from tests.snapshots.scrub import without_hashes

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/cdk.json"))


def synthesise_with_checks(
    app: Path, outdir: Path, context: dict[str, Any]
) -> subprocess.CompletedProcess[str]:
    """Run an app as the CDK would, with cdk-nag and SdValidation attached."""
    environment = {
        **os.environ,
        "CDK_OUTDIR": str(outdir),
        "CDK_CONTEXT_JSON": json.dumps(context),
    }
    command = [sys.executable, str(Path(__file__).with_name("synth_with_checks.py")), str(app)]
    return subprocess.run(command, env=environment, cwd=app.parent, capture_output=True, text=True)


@pytest.fixture(scope="session", params=EXAMPLES, ids=lambda path: path.name)
def synthesised(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """An example's folder and its cloud assembly, made with the checks attached."""
    example: Path = request.param
    outdir = tmp_path_factory.mktemp(example.name)
    settings = json.loads((example / "cdk.json").read_text())
    done = synthesise_with_checks(example / "app.py", outdir, settings["context"])
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


def test_no_check_has_anything_to_say(synthesised: tuple[Path, Path]) -> None:
    report = json.loads((synthesised[1] / "validation-report.json").read_text())
    assert [v["ruleName"] for plugin in report["pluginReports"] for v in plugin["violations"]] == []


def test_its_manifests_are_valid(synthesised: tuple[Path, Path]) -> None:
    manifests = manifests_of(*templates(synthesised[1]).values())
    # That nothing was reported is not because nothing was looked at.
    assert len(manifests) >= 10
    assert [fault for each in manifests for fault in faults_of(each)] == []


def test_it_has_no_wildcard_that_the_table_lacks(synthesised: tuple[Path, Path]) -> None:
    listed = {
        (action, shape(resource), shapes(row.conditions))
        for row in WILDCARDS
        for action in row.actions
        for resource in row.resources
    }
    found = {
        (action, shape(resource), shapes(statement.conditions)): statement.where
        for template in templates(synthesised[1]).values()
        for statement in statements(template)
        if statement.effect == "Allow" and not is_of_a_key(statement)
        for action in statement.actions
        for resource in statement.resources
        if "*" in action or "*" in resource
    }
    assert {each: where for each, where in found.items() if each not in listed} == {}


def is_of_a_key(statement: Statement) -> bool:
    """Tell whether a statement is in the policy of a key, where "*" is the key itself."""
    return bool(statement.principals) and statement.resources == ("*",)


def shape(text: str) -> str:
    """Return a resource or a condition whoever it refers to: an example has names of its own."""
    return re.sub(r"\{[^}]*\}", "{}", text)


def shapes(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(map(shape, texts))


def test_cdk_nag_would_say_something(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(
        "import aws_cdk as cdk\n"
        "app = cdk.App()\n"
        "cdk.aws_sqs.Queue(cdk.Stack(app, 'Stack'), 'WithoutDeadLetters')\n"
        "app.synth()\n"
    )
    done = synthesise_with_checks(app, tmp_path, {})
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
