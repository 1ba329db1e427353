"""Routes: what may stand side by side, and that the order of making things does not matter."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk import aws_sns as sns
from aws_cdk.assertions import Annotations, Match, Template

from cdk_stable_diffusion.api import RouteRegistry, SdApi
from cdk_stable_diffusion.contract import RouteTable


def subscribe(scope: cdk.Stack, api: SdApi, runtime: str) -> None:
    """Do what a runtime does with its filter policy."""
    sns.CfnSubscription(
        scope,
        f"Subscription-{runtime}",
        topic_arn=api.request_topic.topic_arn,
        protocol="sqs",
        endpoint="arn:aws:sqs:us-east-1:123456789012:queue",
        filter_policy=api.routes.filter_policies(runtime)[0],
    )


def policies(stack: cdk.Stack) -> list[Any]:
    return [
        each["Properties"]["FilterPolicy"]
        for each in Template.from_stack(stack).find_resources("AWS::SNS::Subscription").values()
    ]


def routes_of(stack: cdk.Stack) -> RouteTable:
    (function,) = Template.from_stack(stack).find_resources("AWS::Lambda::Function").values()
    return RouteTable.from_json(function["Properties"]["Environment"]["Variables"]["SD_ROUTES"])


def add(api: SdApi, stack: cdk.Stack, runtime: str) -> None:
    if runtime == "any":
        api.routes.add_dynamic("any")
    else:
        api.routes.add_static(runtime, [f"{runtime}-model"])
    subscribe(stack, api, runtime)


@pytest.mark.parametrize(
    "order", [["one", "two", "any"], ["any", "two", "one"], ["two", "any", "one"]]
)
@pytest.mark.parametrize("across_stacks", [False, True])
def test_the_order_does_not_matter(order: list[str], across_stacks: bool) -> None:
    app = cdk.App()
    first = cdk.Stack(app, "First")
    api = SdApi(first, "Api")
    stacks = []
    for runtime in order:
        stack = cdk.Stack(app, f"Stack-{runtime}") if across_stacks else first
        add(api, stack, runtime)
        stacks.append(stack)

    found = {
        json.dumps(policy)
        for stack in (stacks if across_stacks else [first])
        for policy in policies(stack)
    }
    assert found == {json.dumps({"runtime": [runtime]}) for runtime in ("one", "two", "any")}
    assert routes_of(first) == RouteTable(
        static={"one-model": "one", "two-model": "two"}, dynamic="any"
    )


def test_runtimes_in_other_stacks_need_the_api_and_not_the_other_way_round() -> None:
    app = cdk.App()
    first = cdk.Stack(app, "First")
    api = SdApi(first, "Api")
    second = cdk.Stack(app, "Second")
    add(api, second, "one")
    app.synth()
    assert second.dependencies == [first]
    assert first.dependencies == []


def test_what_cannot_stand_side_by_side() -> None:
    routes = RouteRegistry()
    routes.add_static("one", ["a", "b"])
    routes.add_dynamic("any")
    before = (routes.to_json(), routes.runtimes())

    with pytest.raises(ValueError, match="a runtime named 'one' already") as caught:
        routes.add_static("one", ["b", "c", "c", "d/e"])
    assert "model 'b' is served by runtime 'one' already" in str(caught.value)
    assert "model 'c' is named 2 times" in str(caught.value)
    assert "model 'd/e': must be" in str(caught.value)
    with pytest.raises(ValueError, match="the dynamic runtime 'any' already"):
        routes.add_dynamic("other")
    with pytest.raises(ValueError, match="a runtime named 'any' already"):
        routes.add_static("any", ["z"])
    with pytest.raises(ValueError, match="at least one"):
        routes.add_static("two", [])
    with pytest.raises(ValueError, match="name is 'Two_'"):
        routes.add_static("Two_", ["z"])
    assert (routes.to_json(), routes.runtimes()) == before


def test_hosts_of_input_images_are_known_to_the_api() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    for runtime in ("any", "one", "two"):
        add(api, stack, runtime)
    api.routes.allow_hosts("one", ("images.example.org",))
    api.routes.allow_hosts("two", None)
    assert routes_of(stack).hosts == {"one": ("images.example.org",), "two": None}


def test_lanes_are_known_to_the_api() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    api.routes.add_dynamic("any", lanes=8, spread={"hot": 3})
    api.routes.add_static("one", ["one-model"])
    assert routes_of(stack) == RouteTable(
        static={"one-model": "one"}, dynamic="any", lanes=8, spread={"hot": 3}
    )
    assert len(api.routes.filter_policies("any")) == 8


@pytest.mark.parametrize("dynamic_first", [True, False])
def test_more_queues_than_a_topic_has_filters_for_are_refused(dynamic_first: bool) -> None:
    routes = RouteRegistry()
    static = [partial(routes.add_static, f"r{number}", [f"m{number}"]) for number in range(50)]
    others = [*static, partial(routes.add_static, "more", ["one-more"])]
    dynamic = partial(routes.add_dynamic, "any", lanes=150)
    order = [dynamic, *others] if dynamic_first else [*others, dynamic]
    for add_one in order[:-1]:
        add_one()
    before = routes.runtimes()
    with pytest.raises(ValueError, match="would have 201 lanes: at most 200") as caught:
        order[-1]()
    assert "fewer lanes, Model.dynamic(lanes=...)" in str(caught.value)
    assert routes.runtimes() == before


@pytest.mark.parametrize(
    ("lanes", "spread", "says"),
    [
        (0, {}, "dynamic runtime 'any': lanes is 0: 1 to 150"),
        (151, {}, "dynamic runtime 'any': lanes is 151: 1 to 150"),
        (2, {"hot": 3, "other": 0}, "is 3: 1 to 2 lanes; spread of 'other' is 0: 1 to 2 lanes"),
    ],
)
def test_lanes_that_the_function_could_not_choose_from_are_refused(
    lanes: int, spread: dict[str, int], says: str
) -> None:
    routes = RouteRegistry()
    with pytest.raises(ValueError) as caught:
        routes.add_dynamic("any", lanes=lanes, spread=spread)
    assert str(caught.value).endswith(says)
    assert routes.runtimes() == ()


def test_routes_beyond_what_a_function_can_be_told_are_refused() -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    api = SdApi(stack, "Api")
    api.routes.add_static("one", [f"{'m' * 60}-{number}" for number in range(100)])
    with pytest.raises(RuntimeError, match="leave some models to a dynamic runtime"):
        app.synth()


def test_a_spread_beyond_what_a_function_can_be_told_is_refused() -> None:
    app = cdk.App()
    api = SdApi(cdk.Stack(app, "Stack"), "Api")
    spread = {f"{'m' * 60}-{number}": 2 for number in range(100)}
    api.routes.add_dynamic("any", lanes=4, spread=spread)
    with pytest.raises(RuntimeError, match="name in its spread only those that are hot"):
        app.synth()


def test_a_spread_of_what_a_static_runtime_serves_is_warned_of() -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    api = SdApi(stack, "Api")
    api.routes.add_dynamic("any", lanes=4, spread={"sdxl": 2, "hot": 2})
    api.routes.add_static("one", ["sdxl"])
    app.synth()
    Annotations.from_stack(stack).has_warning(
        "/Stack/Api", Match.string_like_regexp("the spread of sdxl has no effect: ")
    )


def test_followers_hear_of_everything_in_either_order() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    early: list[object] = []
    late: list[object] = []
    api.routes.follow(early.append)
    results = api.add_result_queue("Results")
    api.routes.follow(late.append)
    assert early == late == [results]
