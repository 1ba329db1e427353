"""What the Karpenter controller may do is what its reference template says, and no more.

The template: https://karpenter.sh/v1.14/reference/cloudformation/
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from aws_cdk import App, Environment, Stack
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.cluster.karpenter_policy import controller_documents
from tests.nag.policies import Statement, statements
from tests.nag.scenes import SCENES, scene

LAUNCH = {"ec2:RunInstances", "ec2:CreateFleet"}

REFERENCE: dict[str, dict[str, set[str]]] = {
    "NodeLifecycle": {
        "AllowScopedEC2InstanceAccessActions": LAUNCH,
        "AllowScopedEC2LaunchTemplateAccessActions": LAUNCH,
        "AllowScopedEC2InstanceActionsWithTags": {*LAUNCH, "ec2:CreateLaunchTemplate"},
        "AllowScopedResourceCreationTagging": {"ec2:CreateTags"},
        "AllowScopedResourceTagging": {"ec2:CreateTags"},
        "AllowScopedDeletion": {"ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"},
    },
    "IamIntegration": {
        "AllowPassingInstanceRole": {"iam:PassRole"},
        "AllowScopedInstanceProfileCreationActions": {"iam:CreateInstanceProfile"},
        "AllowScopedInstanceProfileTagActions": {"iam:TagInstanceProfile"},
        "AllowScopedInstanceProfileActions": {
            "iam:AddRoleToInstanceProfile",
            "iam:RemoveRoleFromInstanceProfile",
            "iam:DeleteInstanceProfile",
        },
    },
    "EksIntegration": {"AllowAPIServerEndpointDiscovery": {"eks:DescribeCluster"}},
    "Interruption": {
        "AllowInterruptionQueueActions": {
            "sqs:DeleteMessage",
            "sqs:GetQueueUrl",
            "sqs:ReceiveMessage",
        }
    },
    "ZonalShift": {"AllowZonalShiftStatusReadOnly": {"arc-zonal-shift:GetManagedResource"}},
    "ResourceDiscovery": {
        "AllowRegionalReadActions": {
            f"ec2:Describe{what}"
            for what in (
                "CapacityReservations",
                "Images",
                "Instances",
                "InstanceStatus",
                "InstanceTypeOfferings",
                "InstanceTypes",
                "LaunchTemplates",
                "PlacementGroups",
                "SecurityGroups",
                "SpotPriceHistory",
                "Subnets",
            )
        },
        "AllowSSMReadActions": {"ssm:GetParameter"},
        "AllowPricingReadActions": {"pricing:GetProducts"},
        "AllowUnscopedInstanceProfileListAction": {"iam:ListInstanceProfiles"},
        "AllowInstanceProfileReadActions": {"iam:GetInstanceProfile"},
    },
}

LEFT_OUT = {
    "AllowScopedInstanceProfileCreationActions",
    "AllowScopedInstanceProfileTagActions",
    "AllowScopedInstanceProfileActions",
}
"""CloudFormation owns the only instance profile."""

ADDED = {"AllowCreatingTheRoleOfSpot": {"iam:CreateServiceLinkedRole"}}
"""What the guide has a person do before."""

READS = ("ec2:Describe", "pricing:Get", "iam:Get", "iam:List", "ssm:Get", "arc-zonal-shift:Get")

NOTICES = {
    ("aws.health", "AWS Health Event"),
    ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    ("aws.ec2", "EC2 Instance State-change Notification"),
    ("aws.ec2", "EC2 Capacity Reservation Instance Interruption Warning"),
}

CLUSTER_NAMES = st.from_regex(r"[0-9A-Za-z][0-9A-Za-z_-]{0,99}", fullmatch=True)

WITH_KARPENTER = [each for each in SCENES if each[0] != "auto-mode"]

QUEUE = "Cluster/Karpenter/Controller/Interruptions/Queue"


STACK = Stack(App(), "Stack", env=Environment(account="123456789012", region="eu-west-1"))


def controller(cluster_name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Every statement by policy and identifier."""
    documents = controller_documents(
        STACK,
        cluster_name=cluster_name,
        node_role_arn="arn:aws:iam::123456789012:role/Nodes",
        interruption_queue_arn="arn:aws:sqs:eu-west-1:123456789012:Queue",
    )
    return {
        policy: {each["Sid"]: each for each in document["Statement"]}
        for policy, document in documents.items()
        if isinstance(document, dict)
    }


def actions(statement: dict[str, Any]) -> set[str]:
    given = statement["Action"]
    return {given} if isinstance(given, str) else set(given)


def test_statements_and_actions_are_those_of_the_reference_template() -> None:
    expected = {
        policy: {sid: each for sid, each in by_sid.items() if sid not in LEFT_OUT}
        for policy, by_sid in REFERENCE.items()
    }
    expected["IamIntegration"] |= ADDED
    ours = {
        policy: {sid: actions(each) for sid, each in by_sid.items()}
        for policy, by_sid in controller("my-cluster").items()
    }
    assert ours == expected


@given(CLUSTER_NAMES)
def test_what_changes_anything_is_bound_to_the_one_cluster(name: str) -> None:
    for by_sid in controller(name).values():
        for sid, statement in by_sid.items():
            if all(action.startswith(READS) for action in actions(statement)):
                continue
            bound = json.dumps([statement["Resource"], statement.get("Condition", {})])
            match sid:
                case "AllowScopedEC2InstanceAccessActions":
                    # What a launch uses, not what it makes.
                    assert actions(statement) == LAUNCH
                case "AllowPassingInstanceRole":
                    assert statement["Resource"].endswith(":role/Nodes")
                case "AllowCreatingTheRoleOfSpot":
                    assert statement["Resource"].endswith("/AWSServiceRoleForEC2Spot")
                case "AllowInterruptionQueueActions":
                    assert statement["Resource"].endswith(":Queue")
                case "AllowAPIServerEndpointDiscovery":
                    assert statement["Resource"].endswith(f":cluster/{name}")
                case _:
                    assert f"/kubernetes.io/cluster/{name}" in bound, sid


def test_the_role_is_passed_to_ec2_alone() -> None:
    statement = controller("mine")["IamIntegration"]["AllowPassingInstanceRole"]
    assert statement["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]}
    }


@pytest.mark.parametrize(("name", "flags"), WITH_KARPENTER)
def test_a_name_that_is_known_at_deployment_only_changes_nothing(name: str, flags: bool) -> None:
    (template,) = scene(name, flags).templates.values()
    found = {
        each.sid: set(each.actions)
        for each in statements(template)
        if each.where.startswith("Cluster/Karpenter/Controller/") and each.sid
    }
    early = controller("my-cluster").values()
    assert found == {sid: actions(each) for by_sid in early for sid, each in by_sid.items()}


@pytest.mark.parametrize(("name", "flags"), WITH_KARPENTER)
def test_only_the_five_rules_may_send_notices(name: str, flags: bool) -> None:
    (template,) = scene(name, flags).templates.values()
    resources = template["Resources"]
    rules = {
        id: each
        for id, each in resources.items()
        if each["Type"] == "AWS::Events::Rule"
        and each["Metadata"]["aws:cdk:path"].startswith(f"Service/{QUEUE.rpartition('/')[0]}/")
    }
    assert {
        (source, detail)
        for rule in rules.values()
        for source in rule["Properties"]["EventPattern"]["source"]
        for detail in rule["Properties"]["EventPattern"]["detail-type"]
    } == NOTICES
    allowed = [each for each in queue_policy(template) if each.effect == "Allow"]
    for each in allowed:
        assert each.principals == ("events.amazonaws.com",)
        assert each.resources == (f"{{{QUEUE}.Arn}}",)
        assert each.conditions == ("ArnEquals aws:SourceArn",)
    assert source_rules(resources) == set(rules)


def queue_policy(template: dict[str, Any]) -> list[Statement]:
    return [each for each in statements(template) if each.where == f"{QUEUE}/Policy"]


def source_rules(resources: dict[str, Any]) -> set[str]:
    """The rules from which the queue takes notices."""
    (policy,) = (
        each
        for each in resources.values()
        if each.get("Metadata", {}).get("aws:cdk:path") == f"Service/{QUEUE}/Policy/Resource"
    )
    return {
        source["Fn::GetAtt"][0]
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
        for source in as_list(statement["Condition"]["ArnEquals"]["aws:SourceArn"])
    }


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_the_queue_is_as_in_the_reference_template() -> None:
    (template,) = scene("default", False).templates.values()
    (queue,) = (
        each["Properties"]
        for each in template["Resources"].values()
        if each.get("Metadata", {}).get("aws:cdk:path") == f"Service/{QUEUE}/Resource"
    )
    assert queue == {"MessageRetentionPeriod": 300, "SqsManagedSseEnabled": True}
    (denied,) = (each for each in queue_policy(template) if each.effect == "Deny")
    assert denied.actions == ("sqs:*",)
    assert denied.conditions == ("Bool aws:SecureTransport",)
