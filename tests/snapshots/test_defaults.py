"""One snapshot of each construct with nothing but its defaults.

A snapshot says that something changed; the tests in tests/unit say what must not.
"""

from __future__ import annotations

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.json import JSONSnapshotExtension

from cdk_stable_diffusion import Model, SdApi, SdEksCluster, SdObservability, SdRuntime
from tests.snapshots.scrub import without_hashes


@pytest.fixture(scope="module")
def stacks() -> dict[str, cdk.Stack]:
    """One stack for each construct, so that a change shows in one snapshot."""
    app = cdk.App()
    made = {name: cdk.Stack(app, name) for name in ("Api", "Cluster", "Runtime", "Observability")}
    api = SdApi(made["Api"], "Api")
    cluster = SdEksCluster(made["Cluster"], "Cluster")
    SdRuntime(made["Runtime"], "Sdxl", api=api, cluster=cluster, model=Model.static("sdxl"))
    SdObservability(made["Observability"], "Observability", api=api)
    return made


@pytest.mark.parametrize("name", ["Api", "Cluster", "Runtime", "Observability"])
def test_default(name: str, stacks: dict[str, cdk.Stack], snapshot: SnapshotAssertion) -> None:
    template = dict(Template.from_stack(stacks[name]).to_json())
    assert without_hashes(template) == snapshot(extension_class=JSONSnapshotExtension)
