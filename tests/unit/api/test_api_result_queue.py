"""Queues of backends on the result topic."""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from cdk_stable_diffusion.api import SdApi


def synthesised(**arguments: Any) -> Template:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    api.routes.add_static("tiny", ["tiny-shapes"])
    results = api.add_result_queue("Results", **arguments)
    assert api.result_queues == (results,)
    return Template.from_stack(stack)


@pytest.mark.parametrize(
    ("arguments", "policy"),
    [
        ({}, None),
        ({"runtime": "tiny"}, {"runtime": ["tiny"]}),
        ({"status": "failed"}, {"status": ["failed"]}),
        (
            {"runtime": "tiny", "status": "succeeded"},
            {"runtime": ["tiny"], "status": ["succeeded"]},
        ),
    ],
)
def test_results_arrive_raw_and_filtered(
    arguments: dict[str, Any], policy: dict[str, Any] | None
) -> None:
    (subscription,) = synthesised(**arguments).find_resources("AWS::SNS::Subscription").values()
    assert subscription["Properties"]["RawMessageDelivery"] is True
    assert subscription["Properties"].get("FilterPolicy") == policy
    # Filters look at the message attributes unless told otherwise.
    assert "FilterPolicyScope" not in subscription["Properties"]


def test_queues_are_encrypted_and_keep_results_for_two_weeks() -> None:
    template = synthesised()
    template.resource_count_is("AWS::SQS::Queue", 2)
    template.all_resources_properties(
        "AWS::SQS::Queue", {"SqsManagedSseEnabled": True, "MessageRetentionPeriod": 14 * 86_400}
    )


def test_a_result_that_fails_again_and_again_is_put_aside() -> None:
    template = synthesised(max_receive_count=2, visibility_timeout=cdk.Duration.minutes(5))
    template.has_resource_properties(
        "AWS::SQS::Queue", {"VisibilityTimeout": 300, "RedrivePolicy": {"maxReceiveCount": 2}}
    )


def test_only_the_topic_may_send() -> None:
    template = synthesised()
    (topic,) = (
        name
        for name, each in template.find_resources("AWS::SNS::Topic").items()
        if "ResultTopic" in name
    )
    allowed = [
        statement
        for policy in template.find_resources("AWS::SQS::QueuePolicy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    assert [each["Condition"] for each in allowed] == [
        {"ArnEquals": {"aws:SourceArn": {"Ref": topic}}}
    ]


def test_all_wrong_arguments_are_named_at_once() -> None:
    stack = cdk.Stack(cdk.App(), "Stack")
    api = SdApi(stack, "Api")
    with pytest.raises(ValueError, match="status is 'done': one of succeeded, failed") as caught:
        api.add_result_queue(
            "Results",
            runtime="Not A Name",
            status="done",
            max_receive_count=0,
            visibility_timeout=cdk.Duration.hours(13),
        )
    for says in ("runtime is 'Not A Name'", "max_receive_count is 0", "visibility_timeout is"):
        assert says in str(caught.value)
    assert api.result_queues == ()
    assert api.node.try_find_child("Results") is None


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("runtime", 5, "5: the name of a runtime"),
        ("status", ["failed"], "['failed']: one of succeeded, failed"),
        ("visibility_timeout", 60, "60: a Duration"),
        ("max_receive_count", "5", "'5': a whole number"),
    ],
)
def test_wrong_types_are_refused(name: str, value: object, says: str) -> None:
    api = SdApi(cdk.Stack(cdk.App(), "Stack"), "Api")
    wrong: dict[str, Any] = {name: value}
    with pytest.raises(ValueError) as caught:
        api.add_result_queue("Results", **wrong)
    assert f"result queue Stack/Api/Results: {name} is {says}" in str(caught.value)


def test_a_queue_for_a_runtime_that_never_comes_is_refused_at_synthesis() -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    api = SdApi(stack, "Api")
    api.add_result_queue("Results", runtime="tinny")
    api.routes.add_static("tiny", ["tiny-shapes"])
    with pytest.raises(RuntimeError, match=r"waits for the runtime 'tinny'.*it has tiny"):
        app.synth()


def test_a_queue_may_come_before_its_runtime() -> None:
    app = cdk.App()
    stack = cdk.Stack(app, "Stack")
    api = SdApi(stack, "Api")
    api.add_result_queue("Results", runtime="tiny")
    api.routes.add_static("tiny", ["tiny-shapes"])
    app.synth()
