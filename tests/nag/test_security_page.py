"""The code on the security page does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, cast

from aws_cdk import App, Stack, Validations
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_wafv2 as wafv2
from aws_cdk.assertions import Template
from cdk_nag import AwsSolutionsChecks, NIST80053R5Checks

from cdk_stable_diffusion.api import SdApi

PAGE = Path(__file__).parents[2] / "docs/security.md"
WEB_ACL = "arn:aws:wafv2:eu-west-1:123456789012:regional/webacl/mine/1"


def test_every_block_of_code_works() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert blocks
    app = App()
    stack = Stack(app, "Stack")
    names: dict[str, Any] = {
        "app": app,
        "stack": stack,
        "api": SdApi(stack, "Api"),
        "web_acl_arn": WEB_ACL,
        "wafv2": wafv2,
        "lambda_": lambda_,
        "cast": cast,
        "Validations": Validations,
        "AwsSolutionsChecks": AwsSolutionsChecks,
        "NIST80053R5Checks": NIST80053R5Checks,
    }
    for block in blocks:
        exec(block, names)
    template = Template.from_stack(stack)
    (association,) = template.find_resources("AWS::WAFv2::WebACLAssociation").values()
    assert association["Properties"]["WebACLArn"] == WEB_ACL
    template.resource_properties_count_is(
        "AWS::Lambda::Function", {"ReservedConcurrentExecutions": 50}, 1
    )


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#][^)]*)\)", PAGE.read_text("utf-8")):
        assert target.startswith("https://") or (PAGE.parent / target).exists(), target
