"""The validator refuses what the API server would refuse."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.manifests.compose import quickstart
from tests.manifests.template import manifest_of, resolve
from tests.manifests.validator import faults_of

Resource = dict[str, Any]


def broken(kind: str, change: Callable[[Resource], Any]) -> list[str]:
    resource = copy.deepcopy(manifest_of(kind, "tiny-shapes", quickstart()))
    change(resource)
    return faults_of(resource)


@pytest.mark.parametrize(
    ("kind", "change", "says"),
    [
        (
            "Deployment",
            lambda it: it["spec"]["template"]["spec"]["containers"][0].update(imag="x"),
            "'imag' was unexpected",
        ),
        ("Deployment", lambda it: it["spec"].update(replica=1), "'replica' was unexpected"),
        (
            "Deployment",
            lambda it: it["spec"]["template"]["spec"].update(terminationGracePeriodSeconds="30"),
            "'30'",
        ),
        ("ServiceAccount", lambda it: it.update(automountToken=False), "'automountToken'"),
        (
            "NodePool",
            lambda it: it["spec"]["disruption"].update(consolidationPolicy="WhenUnderutilized"),
            "'WhenUnderutilized' is not one of",
        ),
        (
            "NodePool",
            lambda it: it["spec"]["template"]["spec"].update(ttlSecondsAfterEmpty=30),
            "'ttlSecondsAfterEmpty' was unexpected",
        ),
        (
            "NodePool",
            lambda it: it["spec"].update(weight=5, replicas=1),
            "'weight' is not supported on static NodePools [CEL]",
        ),
        (
            "NodePool",
            lambda it: it["spec"]["disruption"]["budgets"][0].update(schedule="@daily"),
            "'schedule' must be set with 'duration' [CEL]",
        ),
        (
            "NodePool",
            lambda it: it["spec"]["template"]["metadata"]["labels"].update(
                {"karpenter.k8s.aws/mine": "1"}
            ),
            'label domain "karpenter.k8s.aws" is restricted [CEL]',
        ),
        (
            "NodePool",
            lambda it: it["spec"]["template"]["spec"].pop("nodeClassRef"),
            "'nodeClassRef' is a required property",
        ),
        (
            "EC2NodeClass",
            lambda it: it["spec"].update(role="node"),
            "must specify exactly one of ['role', 'instanceProfile'] [CEL]",
        ),
        (
            "EC2NodeClass",
            lambda it: it["spec"]["blockDeviceMappings"][0]["ebs"].update(
                volumeInitializationRate=300
            ),
            "snapshotID must be set when volumeInitializationRate is set [CEL]",
        ),
        (
            "EC2NodeClass",
            lambda it: it["spec"].update(instanceStorePolicy="RAID1"),
            "'RAID1' is not one of ['RAID0']",
        ),
        (
            "ScaledObject",
            lambda it: it["spec"].update(minReplicaCount=20),
            "minReplicaCount must be less than or equal to maxReplicaCount [CEL]",
        ),
        (
            "ScaledObject",
            lambda it: it["spec"].update(scaleOnInFlight=True),
            "'scaleOnInFlight' was unexpected",
        ),
        (
            "ScaledObject",
            lambda it: it["spec"]["triggers"][0]["metadata"].update(queueLength=3),
            "3 is not of type 'string'",
        ),
        (
            "TriggerAuthentication",
            lambda it: it["spec"]["podIdentity"].update(provider="aws-pod"),
            "'aws-pod' is not one of",
        ),
        ("ScaledObject", lambda it: it.update(kind="ScaledThing"), "there is no ScaledThing"),
    ],
)
def test_refuses(kind: str, change: Callable[[Resource], Any], says: str) -> None:
    faults = broken(kind, change)
    assert any(says in fault for fault in faults), faults


@pytest.mark.parametrize(
    "kind",
    [
        "Deployment",
        "EC2NodeClass",
        "NodePool",
        "ScaledObject",
        "ServiceAccount",
        "TriggerAuthentication",
    ],
)
def test_accepts_ours(kind: str) -> None:
    assert broken(kind, lambda it: None) == []


def test_refuses_a_reference_that_it_cannot_resolve() -> None:
    with pytest.raises(ValueError, match="cannot resolve"):
        resolve({"Fn::Select": [0, []]}, {"Resources": {}})
