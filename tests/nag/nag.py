"""Runs both packs of cdk-nag on an app, and reads what they find and what is acknowledged."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks

PACKS = ("AwsSolutions-", "NIST.800.53.R5-")
"""What the rules of each pack begin with."""

_ACKNOWLEDGED = "aws:cdk:acknowledged-rules"


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Acknowledgement:
    """What a construct says about a finding on it or on what is in it.

    Attributes:
        rule: The finding, as in `Finding.rule`.
        construct: Path of the construct that says it.
        reason: Why the finding stays.
    """

    rule: str
    construct: str
    reason: str

    def answers(self, finding: Finding) -> bool:
        """Tell whether it is about a finding."""
        return self.rule == finding.rule and f"{finding.construct}/".startswith(
            f"{self.construct}/"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What the packs have to say about an app.

    Attributes:
        findings: What nobody has acknowledged.
        acknowledgements: What the constructs acknowledge.
    """

    findings: tuple[Finding, ...]
    acknowledgements: tuple[Acknowledgement, ...]


def audit(app: App) -> Audit:
    """Run AwsSolutions and NIST 800-53 revision 5 on an app.

    Args:
        app: The app, not synthesised yet.
    """
    Validations.of(app).add_plugins(AwsSolutionsChecks(app), NIST80053R5Checks(app))
    try:
        app.synth()
    except RuntimeError as error:
        if "validation" not in str(error).lower():
            raise
    assembly = Path(app.outdir)
    return Audit(
        findings=tuple(sorted(_findings(assembly), key=lambda each: (each.construct, each.rule))),
        acknowledgements=tuple(_acknowledgements(assembly)),
    )


def unresolved_findings(app: App) -> list[Finding]:
    """Return what both packs find in an app and nobody has acknowledged.

    Args:
        app: The app, not synthesised yet.

    Returns:
        The findings in the order of their constructs.
    """
    return list(audit(app).findings)


def recommended_flags() -> dict[str, Any]:
    """Return the feature flags that ``cdk init`` writes into a new app."""
    with resources.as_file(resources.files("aws_cdk._jsii")) as folder:
        (archive,) = folder.glob("aws-cdk-lib@*.tgz")
        with tarfile.open(archive) as files:
            member = files.extractfile("package/recommended-feature-flags.json")
            assert member is not None
            flags: dict[str, Any] = json.load(member)
            return flags


def _findings(assembly: Path) -> Iterator[Finding]:
    report = json.loads((assembly / "validation-report.json").read_text())
    for plugin in report["pluginReports"]:
        for violation in plugin.get("violations", []):
            for where in violation.get("violatingConstructs", [{}]):
                yield Finding(
                    rule=violation["ruleName"],
                    construct=where.get("constructPath") or where.get("resourceLogicalId", "?"),
                    says=violation["description"],
                )


def _acknowledgements(assembly: Path) -> Iterator[Acknowledgement]:
    for file in sorted(assembly.glob("*.metadata.json")):
        for path, entries in json.loads(file.read_text()).items():
            for entry in entries:
                if entry["type"] == _ACKNOWLEDGED:
                    for id, reason in entry["data"].items():
                        rule = id.partition("::")[2] if id.startswith("Annotation::") else id
                        if rule.startswith(PACKS):
                            yield Acknowledgement(
                                rule=rule, construct=path.removeprefix("/"), reason=reason
                            )
