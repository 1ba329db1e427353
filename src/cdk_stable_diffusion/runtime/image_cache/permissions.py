"""What the state machines may do: with this cache's own things only, which its tag marks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_iam as iam
from constructs import IConstruct

from ..._acknowledge import acknowledge, acknowledge_wildcards
from ...image_cache_handler.protocol import CACHE_TAG
from .builder import Builder

_COMMAND_DOCUMENT = "AWS-RunShellScript"


def allow_to_build(
    role: iam.Role, *, builder: Builder, subnet_ids: Sequence[str], cache: str
) -> None:
    """Let a role launch the builder, command it, copy its volume, and terminate it.

    Args:
        role: Role of the state machine.
        builder: What it launches.
        subnet_ids: Where it launches it.
        cache: The cache.
    """
    arn = _Arns(role)
    template_id = builder.launch_template.launch_template_id
    assert template_id is not None
    template = arn.ec2("launch-template", template_id)
    of_template = {"ArnEquals": {"ec2:LaunchTemplate": template}}
    role_statements = [
        _allow(
            "LaunchWhatTheTemplateSays",
            ["ec2:RunInstances"],
            [
                template,
                arn.image(builder.image_id),
                arn.ec2("security-group", builder.security_group.security_group_id),
                *(arn.ec2("subnet", subnet_id) for subnet_id in subnet_ids),
                arn.ec2("network-interface", "*"),
            ],
            of_template,
        ),
        _allow(
            "LaunchWithTheTag",
            ["ec2:RunInstances"],
            [arn.ec2("instance", "*"), arn.ec2("volume", "*")],
            {**of_template, **_in_request(cache)},
        ),
        _allow(
            "TagWhatIsMade",
            ["ec2:CreateTags"],
            [arn.ec2("instance", "*"), arn.ec2("volume", "*"), arn.snapshots],
            {
                "StringEquals": {
                    **_in_request(cache)["StringEquals"],
                    "ec2:CreateAction": ["RunInstances", "CreateSnapshot"],
                }
            },
        ),
        _allow(
            "GiveItsRole",
            ["iam:PassRole"],
            [builder.role.role_arn],
            # In China the service has another name.
            {
                "StringEquals": {
                    "iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]
                }
            },
        ),
        _allow(
            "CommandByDocument",
            ["ssm:SendCommand"],
            [
                Stack.of(role).format_arn(
                    service="ssm", account="", resource="document", resource_name=_COMMAND_DOCUMENT
                )
            ],
        ),
        _allow(
            "CommandByTag",
            ["ssm:SendCommand"],
            [arn.ec2("instance", "*")],
            {"StringEquals": {f"ssm:resourceTag/{CACHE_TAG}": cache}},
        ),
        _allow("Stop", ["ec2:StopInstances"], [arn.ec2("instance", "*")], _on_resource(cache)),
        _allow("CopyFrom", ["ec2:CreateSnapshot"], [arn.ec2("volume", "*")], _on_resource(cache)),
        _allow("CopyTo", ["ec2:CreateSnapshot"], [arn.snapshots], _in_request(cache)),
        _allow(
            "Look",
            [
                "ec2:DescribeSnapshots",
                "ec2:DescribeVolumes",
                "ssm:DescribeInstanceInformation",
                "ssm:GetCommandInvocation",
            ],
            ["*"],
        ),
    ]
    for statement in role_statements:
        role.add_to_principal_policy(statement)
    allow_to_terminate(role, cache=cache)
    _acknowledge_unnamed(
        role,
        [
            arn.ec2("volume", "*"),
            arn.ec2("network-interface", "*"),
            arn.snapshots,
        ],
    )


def allow_to_terminate(role: iam.Role, *, cache: str) -> None:
    """Let a role find instances, and terminate those of a cache.

    Args:
        role: The role.
        cache: The cache.
    """
    arn = _Arns(role)
    role.add_to_principal_policy(
        _allow(
            "Terminate", ["ec2:TerminateInstances"], [arn.ec2("instance", "*")], _on_resource(cache)
        )
    )
    role.add_to_principal_policy(_allow("Find", ["ec2:DescribeInstances"], ["*"]))
    _acknowledge_unnamed(role, [arn.ec2("instance", "*")])
    acknowledge(
        role,
        {
            "AwsSolutions-IAM5[Resource::*]": (
                "What lists and describes in EC2 and Systems Manager, writes traces, and sets up "
                "the delivery of a state machine's logs, can be granted on all resources only."
            )
        },
    )


def allow_to_delete_snapshots(role: iam.Role, *, cache: str) -> None:
    """Let a role find snapshots, and delete those of a cache.

    Args:
        role: The role.
        cache: The cache.
    """
    arn = _Arns(role)
    role.add_to_principal_policy(
        _allow("Delete", ["ec2:DeleteSnapshot"], [arn.snapshots], _on_resource(cache))
    )
    role.add_to_principal_policy(_allow("FindSnapshots", ["ec2:DescribeSnapshots"], ["*"]))
    _acknowledge_unnamed(role, [arn.snapshots])


class _Arns:
    """Amazon Resource Names of EC2."""

    def __init__(self, scope: IConstruct) -> None:
        self._stack = Stack.of(scope)

    def ec2(self, kind: str, id: str) -> str:
        return self._stack.format_arn(service="ec2", resource=kind, resource_name=id)

    def image(self, id: str) -> str:
        return self._stack.format_arn(service="ec2", account="", resource="image", resource_name=id)

    @property
    def snapshots(self) -> str:
        """Snapshots; EC2 leaves the account out of their names."""
        return self._stack.format_arn(
            service="ec2", account="", resource="snapshot", resource_name="*"
        )


def _allow(
    sid: str,
    actions: Sequence[str],
    resources: Sequence[str],
    conditions: dict[str, Any] | None = None,
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        sid=sid, actions=list(actions), resources=list(resources), conditions=conditions
    )


def _in_request(cache: str) -> dict[str, Any]:
    return {"StringEquals": {f"aws:RequestTag/{CACHE_TAG}": cache}}


def _on_resource(cache: str) -> dict[str, Any]:
    return {"StringEquals": {f"aws:ResourceTag/{CACHE_TAG}": cache}}


def _acknowledge_unnamed(role: iam.Role, resources: Sequence[str]) -> None:
    acknowledge_wildcards(
        role,
        resources=resources,
        reason="EC2 chooses these identifiers when it makes the resource. A condition on the tag "
        "of this cache, or on its launch template, allows no other.",
    )
