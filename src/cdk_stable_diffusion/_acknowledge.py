"""How a finding of cdk-nag is acknowledged beside the resource that causes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import jsii
from aws_cdk import Acknowledgment, Stack, Validations
from constructs import IConstruct, IValidation


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Acknowledge findings on a construct and what is in it.

    Only for what holds for every user of the construct; all else is repaired, or left for the user
    to judge.

    Args:
        construct: Where the findings are.
        reasons: Identifier of each finding, with the reason.
    """
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=id, reason=reason) for id, reason in reasons.items())
    )


def acknowledge_own_policy(role: IConstruct) -> None:
    """Acknowledge that the policy of a role is part of it: an inline policy.

    Args:
        role: The role, or the policy.
    """
    acknowledge(
        role,
        {
            "NIST.800.53.R5-IAMNoInlinePolicy": (
                "The policy is for this one role. That is what IAM has inline policies for: it "
                "cannot be attached elsewhere by mistake, and it goes with the role."
            )
        },
    )


def acknowledge_wildcards(construct: IConstruct, *, resources: Sequence[str], reason: str) -> None:
    """Acknowledge resources with wildcards in the policies of a construct.

    cdk-nag names such a finding by the resource as the template has it, which for a resource of
    another stack, or in a stack with a fixed region, is known only during synthesis; so the
    acknowledgement is made then.

    Args:
        construct: Where the policies are.
        resources: The resources, such as ``{bucket_arn}/*``.
        reason: Why the wildcard is as narrow as can be.
    """
    construct.node.add_validation(_AcknowledgeWildcards(construct, tuple(resources), reason))


@jsii.implements(IValidation)
class _AcknowledgeWildcards:
    """Makes the acknowledgement once references between stacks are resolved; finds no fault."""

    def __init__(self, construct: IConstruct, resources: tuple[str, ...], reason: str) -> None:
        self._construct = construct
        self._resources = resources
        self._reason = reason

    def validate(self) -> list[str]:
        stack = Stack.of(self._construct)
        acknowledge(
            self._construct,
            {
                f"AwsSolutions-IAM5[Resource::{_flat(stack.resolve(resource))}]": self._reason
                for resource in self._resources
            },
        )
        return []


def _flat(value: Any) -> str:
    """Return a resolved value as cdk-nag writes it in the name of a finding."""
    match value:
        case str():
            return value
        case {"Fn::Join": [delimiter, items]}:
            return str(delimiter).join(_flat(item) for item in items)
        case {"Fn::GetAtt": [resource, attribute]}:
            return f"<{resource}.{attribute}>"
        case {"Fn::ImportValue": name}:
            return _flat(name)
        case {"Ref": name}:
            return f"<{name}>"
        case _:
            return json.dumps(value, separators=(",", ":"))
