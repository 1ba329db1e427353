"""Stacks with a cache, and their templates."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2

from cdk_stable_diffusion.runtime.image import RuntimeImage
from cdk_stable_diffusion.runtime.image_cache import ImageCache

DIGEST = "sha256:" + "a" * 64
IN_ECR = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/runtime@{DIGEST}"
ELSEWHERE = f"registry.example:8443/runtime@{DIGEST}"

Template = dict[str, Any]


def image(uri: str = IN_ECR) -> RuntimeImage:
    return RuntimeImage.from_registry(uri)


def network(stack: cdk.Stack) -> ec2.IVpc:
    return ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-1",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
        private_subnet_route_table_ids=["rtb-1", "rtb-2"],
        isolated_subnet_ids=["subnet-3", "subnet-4"],
        isolated_subnet_route_table_ids=["rtb-3", "rtb-4"],
    )


def template(**arguments: Any) -> Template:
    """Return the template of a stack with one cache."""
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    ImageCache(stack, "Cache", **{"images": [image()], "vpc": network(stack), **arguments})
    result: Template = app.synth().get_stack_by_name("Stack").template
    return result


def of_type(template: Template, kind: str) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in template["Resources"].items() if each["Type"] == kind}


def custom(template: Template) -> dict[str, Any]:
    (found,) = of_type(template, "Custom::StableDiffusionImageCache").values()
    return found


def statements(template: Template, role: str = "") -> Iterator[dict[str, Any]]:
    """Return the statements of all policies of roles whose names contain something."""
    for name, policy in of_type(template, "AWS::IAM::Policy").items():
        if role in name:
            yield from policy["Properties"]["PolicyDocument"]["Statement"]


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def flat(value: Any) -> str:
    """Return a resource or an action of a policy as one text."""
    match value:
        case str():
            return value
        case {"Fn::Join": [delimiter, items]}:
            return str(delimiter).join(map(flat, items))
        case {"Ref": name}:
            return f"<{name}>"
        case {"Fn::GetAtt": [name, attribute]}:
            return f"<{name}.{attribute}>"
        case _:
            return repr(value)
