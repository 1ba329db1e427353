"""Take results from a backend's queue, as a backend does."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..contract import ResultMessage
from .aws import AwsAccess

LONG_POLL_SECONDS = 2
"""Short enough to show progress; a backend takes 20."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilteredQueue:
    """A result queue and what arrives there.

    Attributes:
        url: The queue's URL.
        filter_policy: The filter policy of its subscription, or None if every result arrives.
    """

    url: str
    filter_policy: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return what a client wants to know of it."""
        return {"url": self.url, "filter_policy": self.filter_policy}


def filtered_queues(urls: Iterable[str], access: AwsAccess) -> list[FilteredQueue]:
    """Find out what arrives in result queues.

    Args:
        urls: The queues' URLs.
        access: Where the queues are.
    """
    sns, sqs = access.client("sns"), access.client("sqs")
    policies: dict[str, Any] = {}
    for page in sns.get_paginator("list_subscriptions").paginate():
        for each in page["Subscriptions"]:
            attributes = sns.get_subscription_attributes(SubscriptionArn=each["SubscriptionArn"])
            policy = json.loads(attributes["Attributes"].get("FilterPolicy") or "null")
            policies[each["Endpoint"]] = policy or None
    queues = []
    for url in urls:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
        policy = policies.get(answer["Attributes"]["QueueArn"])
        queues.append(FilteredQueue(url=url, filter_policy=policy))
    return queues


def default_queue(queues: Iterable[FilteredQueue]) -> FilteredQueue | None:
    """Return the queue to read for all results: the first without a filter, else the first.

    Args:
        queues: The result queues, in the order of the templates.
    """
    # Sorting is stable: those without a filter come first, in their order.
    return next(iter(sorted(queues, key=lambda each: each.filter_policy is not None)), None)


class ResultQueue:
    """A queue that `SdApi.add_result_queue` made."""

    def __init__(self, url: str, access: AwsAccess) -> None:
        """Prepare.

        Args:
            url: The queue's URL.
            access: Where the queue is.
        """
        self._url = url
        self._sqs = access.client("sqs")

    def receive(self) -> list[ResultMessage]:
        """Return the results that come within one long poll, and delete them from the queue."""
        answer = self._sqs.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=10, WaitTimeSeconds=LONG_POLL_SECONDS
        )
        results = []
        for message in answer.get("Messages", ()):
            results.append(ResultMessage.from_json(message["Body"]))
            self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return results
