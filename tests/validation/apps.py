"""Small apps with manifests for a cluster that is there already, and what is reported of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack, Validations
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct

from cdk_stable_diffusion.validation import SdValidation

Report = dict[str, Any]


def some_cluster(scope: Construct) -> eks.ICluster:
    """Return a cluster that was made elsewhere."""
    provider = eks.KubectlProvider.from_kubectl_provider_attributes(
        scope,
        "Kubectl",
        service_token="arn:aws:lambda:eu-west-1:123456789012:function:kubectl",
        role=iam.Role.from_role_name(scope, "KubectlRole", "kubectl"),
    )
    return eks.Cluster.from_cluster_attributes(
        scope, "Cluster", cluster_name="cluster", kubectl_provider=provider
    )


def new_stack() -> Stack:
    """Return the stack of a new app, which `SdValidation` checks."""
    app = App()
    Validations.of(app).add_plugins(SdValidation())
    return Stack(app, "Work")


def report_of(stack: Stack) -> Report | None:
    """Synthesise a stack's app and return what `SdValidation` reports, if anything."""
    app = stack.node.root
    assert isinstance(app, App)
    failure = ""
    try:
        app.synth()
    except RuntimeError as error:
        failure = str(error)
    path = Path(app.outdir) / "validation-report.json"
    reports = json.loads(path.read_text())["pluginReports"] if path.exists() else []
    found: Report | None = next(
        (report for report in reports if report["pluginName"] == "SdValidation"), None
    )
    assert bool(failure) == (found is not None and found["conclusion"] == "failure"), failure
    return found
