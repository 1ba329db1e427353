"""The linter of the AWS CDK, which other tests turn off for its cost, finds nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.examples.test_examples import EXAMPLES

STRICT = "@aws-cdk/core:validateAgainstDefaultRules"


WRONG_APP = """
import aws_cdk as cdk
app = cdk.App()
stack = cdk.Stack(app, "Stack")
cdk.CfnResource(stack, "Queue", type="AWS::SQS::Queue", properties={"VisibilityTimeout": "long"})
app.synth()
"""


def lint(app: Path, outdir: Path, context: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "CDK_VALIDATION": "true",
        "CDK_OUTDIR": str(outdir),
        "CDK_CONTEXT_JSON": json.dumps({**context, STRICT: True}),
    }
    return subprocess.run([sys.executable, app], env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_linter_finds_nothing(example: Path, tmp_path: Path) -> None:
    settings = json.loads((example / "cdk.json").read_text())
    done = lint(example / "app.py", tmp_path, settings["context"])
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "validation-report.json").read_text())
    assert report["pluginReports"] == []


@pytest.mark.slow
def test_the_linter_would_find_something(tmp_path: Path) -> None:
    app = tmp_path / "app.py"
    app.write_text(WRONG_APP)
    done = lint(app, tmp_path / "cdk.out", {})
    assert done.returncode != 0
    assert "VisibilityTimeout" in done.stdout + done.stderr
