"""Which result queues an app has, and which of them a client reads."""

from __future__ import annotations

import json

import pytest

from cdk_stable_diffusion.local.emulator import Emulator
from cdk_stable_diffusion.local.result_queue import FilteredQueue, default_queue, filtered_queues

ALL, OTHERS = FilteredQueue(url="all", filter_policy=None), FilteredQueue(url="o", filter_policy={})
FAILED = FilteredQueue(url="failed", filter_policy={"status": ["failed"]})


@pytest.mark.parametrize(
    ("queues", "chosen"),
    [
        ([FAILED, ALL], ALL),
        ([ALL, FAILED], ALL),
        ([FAILED, OTHERS], FAILED),
        ([], None),
    ],
)
def test_the_queue_without_a_filter_is_read(
    queues: list[FilteredQueue], chosen: FilteredQueue | None
) -> None:
    assert default_queue(queues) == chosen


def test_every_queue_is_found_with_its_filter() -> None:
    wanted = {"all": None, "failed": {"status": ["failed"]}}
    with Emulator() as emulator:
        sns, sqs = emulator.access.client("sns"), emulator.access.client("sqs")
        topic = sns.create_topic(Name="results")["TopicArn"]
        urls = {}
        for name, policy in wanted.items():
            urls[name] = sqs.create_queue(QueueName=name)["QueueUrl"]
            answer = sqs.get_queue_attributes(QueueUrl=urls[name], AttributeNames=["QueueArn"])
            sns.subscribe(
                TopicArn=topic,
                Protocol="sqs",
                Endpoint=answer["Attributes"]["QueueArn"],
                Attributes={"FilterPolicy": json.dumps(policy)} if policy else {},
            )
        found = filtered_queues(urls.values(), emulator.access)
    assert [each.to_dict() for each in found] == [
        {"url": urls[name], "filter_policy": policy} for name, policy in wanted.items()
    ]
