"""cdk-nag finds nothing in cluster, runtimes and observability."""

from __future__ import annotations

from typing import Any

import pytest
from aws_cdk import App, Environment, Stack
from aws_cdk import aws_s3 as s3

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import SdEksCluster
from cdk_stable_diffusion.observability import SdObservability
from cdk_stable_diffusion.runtime import Model, SdRuntime
from tests.manifests.compose import IMAGE
from tests.nag.nag import recommended_flags, unresolved_findings

STACKS = ("Api", "Cluster", "Runtimes", "Observability")


ANYWHERE = Environment()
SOMEWHERE = Environment(account="123456789012", region="eu-west-1")


@pytest.mark.parametrize("together", [True, False], ids=["one-stack", "a-stack-each"])
@pytest.mark.parametrize("flags", [{}, recommended_flags()], ids=["no-flags", "all-flags"])
@pytest.mark.parametrize("env", [ANYWHERE, SOMEWHERE], ids=["anywhere", "somewhere"])
def test_service_is_clean(together: bool, flags: dict[str, Any], env: Environment) -> None:
    app = App(context=flags)
    stacks = (
        dict.fromkeys(STACKS, Stack(app, "Service", env=env))
        if together
        else {name: Stack(app, name, env=env) for name in STACKS}
    )
    api = SdApi(stacks["Api"], "Api")
    api.add_result_queue("Results")
    cluster = SdEksCluster(stacks["Cluster"], "Cluster")
    for id, model in {"Sdxl": Model.static("sdxl"), "Any": Model.dynamic()}.items():
        SdRuntime(stacks["Runtimes"], id, api=api, cluster=cluster, model=model, image=IMAGE)
    SdObservability(stacks["Observability"], "Observability", api=api)
    assert [str(each) for each in unresolved_findings(app)] == []


def test_findings_of_others_are_seen() -> None:
    app = App()
    s3.Bucket(Stack(app, "Service"), "Bare")
    found = {each.rule for each in unresolved_findings(app)}
    assert {"AwsSolutions-S1", "AwsSolutions-S10"} <= found
    assert {
        "NIST.800.53.R5-S3BucketLoggingEnabled",
        "NIST.800.53.R5-S3BucketVersioningEnabled",
    } <= found
