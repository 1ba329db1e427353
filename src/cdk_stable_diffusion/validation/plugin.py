"""SdValidation: the check of every Kubernetes manifest of an app at synthesis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import jsii
from aws_cdk import (
    IPolicyValidationContext,
    IPolicyValidationPlugin,
    PolicyValidationPluginReport,
    PolicyViolatingResource,
    PolicyViolation,
)

from .checker import faults_of, is_known
from .fault import Fault
from .template import UnreadableManifest, manifest_ids, read_manifest, with_nested
from .token import readable

_PACKAGE = "cdk-stable-diffusion"
_NEEDED = ("celpy", "jsonschema", "yaml")
_MANIFEST = "Properties/Manifest"

NOT_JUDGED = "not-judged"
"""The rule under which manifests of unknown kinds are counted."""


@jsii.implements(IPolicyValidationPlugin)
class SdValidation:
    """Checks every Kubernetes manifest of an app at synthesis, as its cluster would later.

    It reads the manifests out of the synthesised templates: those of this library and your own,
    from every `KubernetesManifest` of the app or stage. Kubernetes' own kinds are checked against
    the schemas of the version that `SdEksCluster` has; those of Karpenter, KEDA and EKS Auto Mode
    against their definitions in the versions that `SdEksCluster` installs, with their rules. Fields
    that a schema does not have are refused. On top come a few rules that no schema has, such as
    that a node class with images on a snapshot must not choose another snapshotter.

    Values that are known only at deployment are taken to be right. Kinds of other makers have no
    schema here: they are not judged, and the report counts them. Neither are the values of Helm
    charts, since the charts are not at hand at synthesis.

    Synthesis fails on what it finds; the oldest AWS CDK that this library takes prints it and goes
    on. To accept a finding, acknowledge it where it is, with the rule that the report names:
    ``Validations.of(construct).acknowledge(Acknowledgment(id="SdValidation::schema", ...))``.

    It needs the extra ``validation``: ``pip install 'cdk-stable-diffusion[validation]'``.

    Example:
        >>> from aws_cdk import App, Validations
        >>> Validations.of(App()).add_plugins(SdValidation())  # doctest: +SKIP
    """

    def __init__(self) -> None:
        """Make the plugin.

        Raises:
            ImportError: If a package of the extra ``validation`` is not installed.
        """
        for name in _NEEDED:
            try:
                import_module(name)
            except ImportError as error:
                raise ImportError(
                    f"SdValidation needs the package {name}, which the extra 'validation' has: "
                    f"pip install '{_PACKAGE}[validation]'"
                ) from error

    @property
    def name(self) -> str:
        """Name of the plugin in reports and acknowledgements."""
        return "SdValidation"

    @property
    def version(self) -> str | None:
        """Version of this library."""
        return metadata.version(_PACKAGE)

    @property
    def rule_ids(self) -> list[str] | None:
        """None: no rule is reported to the maker of the AWS CDK."""
        return None

    def validate(self, context: IPolicyValidationContext) -> PolicyValidationPluginReport:
        """Check the manifests of all templates; the AWS CDK calls it.

        Args:
            context: Where the templates are.

        Returns:
            What is wrong with them.
        """
        findings = _Findings()
        for path in [file for each in context.template_paths for file in with_nested(Path(each))]:
            template = json.loads(path.read_text("utf-8"))
            for logical_id in manifest_ids(template):
                place = PolicyViolatingResource(
                    resource_logical_id=logical_id, template_path=str(path), locations=[_MANIFEST]
                )
                try:
                    manifest = read_manifest(template, logical_id)
                except UnreadableManifest as error:
                    findings.add("the manifest", Fault(field="Manifest", says=str(error)), place)
                    continue
                for resource in manifest.resources:
                    findings.judge(resource, place)
                for fault in manifest.faults:
                    findings.add("the manifest", fault, place)
        return findings.report()


class _Findings:
    """What was found in the manifests of an app."""

    def __init__(self) -> None:
        self._violations: list[PolicyViolation] = []
        self._checked = 0
        self._not_judged: dict[str, list[PolicyViolatingResource]] = {}

    def judge(self, resource: Mapping[str, Any], place: PolicyViolatingResource) -> None:
        if not is_known(resource):
            kind = readable(f"{resource['kind']} of {resource['apiVersion']}")
            self._not_judged.setdefault(kind, []).append(place)
            return
        self._checked += 1
        metadata = resource["metadata"]
        given = metadata.get("name") or metadata.get("generateName") or "without a name"
        name = f"{resource['kind']} {readable(given)}"
        for fault in faults_of(resource):
            self.add(name, fault, place)

    def add(self, name: str, fault: Fault, place: PolicyViolatingResource) -> None:
        self._violations.append(
            PolicyViolation(
                rule_name=fault.rule,
                description=f"{name}: {fault}",
                severity="error",
                rule_metadata={"manifest": name, "field": fault.field},
                violating_resources=[place],
            )
        )

    def report(self) -> PolicyValidationPluginReport:
        counts = {kind: len(places) for kind, places in sorted(self._not_judged.items())}
        # The AWS CDK shows no report without violations, so that these are one of no weight.
        notes = [
            PolicyViolation(
                rule_name=NOT_JUDGED,
                description=f"{count} manifest{'s' * (count > 1)} not judged: there is no schema "
                f"here of a {kind}",
                severity="info",
                violating_resources=self._not_judged[kind],
            )
            for kind, count in counts.items()
        ]
        return PolicyValidationPluginReport(
            success=not self._violations,
            violations=[*self._violations, *notes],
            metadata={"checked": str(self._checked), "not judged": str(sum(counts.values()))},
        )
