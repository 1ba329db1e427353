"""No policy allows more than AWS makes it: every wildcard is listed with its reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase

import pytest

from tests.nag.pages import PAGES, Page
from tests.nag.policies import Statement, managed_policies, statements
from tests.nag.scenes import SCENES, YOUR_CLUSTER, scene
from tests.nag.table import (
    DENIALS,
    MANAGED_POLICIES,
    WILDCARDS,
    ManagedPolicy,
    Wildcard,
)

Use = tuple[Wildcard, str, str]
"""A row of the table with one of its actions and one of its resources."""

DOCUMENTATION = (
    "https://docs.aws.amazon.com/",
    "https://karpenter.sh/",
    "https://bottlerocket.dev/",
)

ANYTHING = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}

EVERY_SCENE = pytest.mark.parametrize(("name", "flags"), SCENES)


def statements_of(name: str, flags: bool) -> list[Statement]:
    return [
        replace(statement, conditions=tuple(map(of_any_cluster, statement.conditions)))
        for template in scene(name, flags).templates.values()
        for statement in statements(template)
    ]


def of_any_cluster(condition: str) -> str:
    """A condition whose key names the cluster, without the cluster's name."""
    return condition.replace("{Cluster/Cluster}", "{cluster}").replace(YOUR_CLUSTER, "{cluster}")


def wildcards(statement: Statement) -> Iterator[tuple[str, str]]:
    """Every pair of an action and a resource, one of which has a wildcard."""
    for action in statement.actions:
        for resource in statement.resources or ("",):
            if "*" in action or "*" in resource:
                yield action, resource


def row_of(statement: Statement, action: str, resource: str) -> Wildcard | None:
    for row in WILDCARDS:
        if (
            fnmatchcase(statement.where, row.where)
            and action in row.actions
            and resource in row.resources
            and sorted(row.conditions) == sorted(statement.conditions)
        ):
            return row
    return None


@EVERY_SCENE
def test_every_wildcard_is_listed_with_its_conditions(name: str, flags: bool) -> None:
    unlisted = [
        f"{statement.where}: {action} on {resource} if {statement.conditions}"
        for statement in statements_of(name, flags)
        if statement.effect == "Allow" and not is_default_of_your_key(statement)
        for action, resource in wildcards(statement)
        if row_of(statement, action, resource) is None
    ]
    assert unlisted == []


def is_default_of_your_key(statement: Statement) -> bool:
    """Tell whether a statement is the first one of a key that the user brings."""
    return statement.where.startswith("Your") and statement.actions == ("kms:*",)


def test_every_row_is_needed() -> None:
    used: set[Use] = {
        (row, action, resource)
        for name, flags in SCENES
        for statement in statements_of(name, flags)
        for action, resource in wildcards(statement)
        if (row := row_of(statement, action, resource))
    }
    for row in WILDCARDS:
        for action in row.actions:
            for resource in row.resources:
                assert (row, action, resource) in used, f"{row.where}: {action} on {resource}"


@EVERY_SCENE
def test_a_denial_is_of_all_that_comes_without_tls(name: str, flags: bool) -> None:
    denials = [each for each in statements_of(name, flags) if each.effect == "Deny"]
    assert denials
    for denial in denials:
        assert denial.conditions == ("Bool aws:SecureTransport",), denial
        assert denial.principals == ("*",), denial
        assert not any("*" in action and action not in DENIALS for action in denial.actions)


@EVERY_SCENE
def test_nobody_unknown_is_allowed_anything(name: str, flags: bool) -> None:
    for statement in statements_of(name, flags):
        if statement.effect == "Allow":
            assert not any("*" in each for each in statement.principals), statement


@EVERY_SCENE
def test_nothing_is_allowed_by_leaving_out(name: str, flags: bool) -> None:
    assert [each for each in statements_of(name, flags) if each.inverted] == []


@EVERY_SCENE
def test_every_policy_that_aws_keeps_is_listed(name: str, flags: bool) -> None:
    attached = [
        each
        for template in scene(name, flags).templates.values()
        for each in managed_policies(template)
    ]
    for where, policy in attached:
        rows = [row for row in MANAGED_POLICIES if row.policy == policy and row.is_at(where)]
        assert len(rows) == 1, f"{policy} on {where}"


def test_every_managed_policy_of_the_list_is_attached() -> None:
    attached = [
        each
        for name, flags in SCENES
        for template in scene(name, flags).templates.values()
        for each in managed_policies(template)
    ]
    for row in MANAGED_POLICIES:
        assert any(policy == row.policy and row.is_at(where) for where, policy in attached), row


def test_every_row_says_why_and_where_it_is_documented() -> None:
    rows: tuple[Wildcard | ManagedPolicy, ...] = (*WILDCARDS, *MANAGED_POLICIES)
    for row in rows:
        assert row.reason.endswith("."), row
        assert row.documentation.startswith(DOCUMENTATION), row


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path.name)
def test_the_page_says_what_the_templates_say(page: Page) -> None:
    assert page.path.read_text("utf-8") == page.text(), "run python -m tests.nag.pages"


@pytest.mark.parametrize(
    "policy",
    [
        {
            "PolicyDocument": {
                "Statement": {"Effect": "Allow", "Action": "s3:Get*", "Resource": "x"}
            }
        },
        {"Policies": [{"PolicyDocument": {"Statement": [ANYTHING]}}]},
        {"AssumeRolePolicyDocument": {"Statement": [{"Effect": "Allow", "Action": "sts:*"}]}},
        {"AnyNameAtAll": {"Fn::Join": ["", ['{"Statement": [', json.dumps(ANYTHING), "]}"]]}},
        {"AnyNameAtAll": {"Fn::Sub": json.dumps({"Statement": [ANYTHING]})}},
        {"KeyPolicy": {"Statement": [{**ANYTHING, "Resource": {"Fn::Join": ["", ["a", "/*"]]}}]}},
    ],
)
def test_a_wildcard_is_seen_in_whichever_policy(policy: dict[str, object]) -> None:
    template = {"Resources": {"Thing": {"Type": "AWS::Some::Thing", "Properties": policy}}}
    (statement,) = statements(template)
    assert list(wildcards(statement))
    assert row_of(statement, *next(wildcards(statement))) is None
