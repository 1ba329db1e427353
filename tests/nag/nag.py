"""Runs cdk-nag on an app and reads its findings."""

from __future__ import annotations

import json
import tarfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """A finding of cdk-nag.

    Attributes:
        rule: The rule with what it found, such as "AwsSolutions-IAM5[Resource::*]".
        construct: Path of the construct.
        says: What the rule says.
    """

    rule: str
    construct: str
    says: str

    def __str__(self) -> str:
        """Return the finding as one line."""
        return f"{self.rule} at {self.construct}: {self.says}"


def unresolved_findings(app: App) -> list[Finding]:
    """Return what cdk-nag's AwsSolutions finds in an app and nobody has acknowledged.

    Args:
        app: The app, not synthesised yet.

    Returns:
        The findings in the order of their constructs.
    """
    report = _report(app)
    findings = [
        Finding(
            rule=violation["ruleName"],
            construct=where.get("constructPath") or where.get("resourceLogicalId", "?"),
            says=violation["description"],
        )
        for plugin in report["pluginReports"]
        for violation in plugin.get("violations", [])
        for where in violation.get("violatingConstructs", [{}])
    ]
    return sorted(findings, key=lambda finding: (finding.construct, finding.rule))


def recommended_flags() -> dict[str, Any]:
    """Return the feature flags that ``cdk init`` writes into a new app."""
    with resources.as_file(resources.files("aws_cdk._jsii")) as folder:
        (archive,) = folder.glob("aws-cdk-lib@*.tgz")
        with tarfile.open(archive) as files:
            member = files.extractfile("package/recommended-feature-flags.json")
            assert member is not None
            flags: dict[str, Any] = json.load(member)
            return flags


def _report(app: App) -> dict[str, Any]:
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        if "validation" not in str(error).lower():
            raise
    report: dict[str, Any] = json.loads((Path(app.outdir) / "validation-report.json").read_text())
    return report
