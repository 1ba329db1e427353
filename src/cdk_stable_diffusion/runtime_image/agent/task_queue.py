"""The runtime's queue, or its lanes, in the agent's words."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

WAIT_SECONDS = 20
"""Longest that SQS lets one call wait for a message."""

MOST_AT_ONCE = 10
"""Most messages that one call takes."""

_WAITING = "ApproximateNumberOfMessages"
_IN_HAND = "ApproximateNumberOfMessagesNotVisible"
_MODEL_ATTRIBUTE = "model"
ERROR_CODE_ATTRIBUTE = "error_code"
ERROR_DETAIL_ATTRIBUTE = "error_detail"
_MAX_ATTRIBUTE_CHARACTERS = 1_000
# What SQS refuses in an attribute: everything that XML 1.0 cannot hold.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Received:
    """A message as it came from the queue.

    Attributes:
        message_id: SQS's id of it.
        receipt: What identifies this receiving of it.
        body: Its text.
        receive_count: How often it has been received, this time included.
        attributes: Its message attributes, as SQS gives them.
        lane: Number of the queue that it came from.
        waited_seconds: How long it was there, by this machine's clock.
        stolen: Whether another replica is that queue's home.
        polled: Whether it came to who waited for it, and not at a look.
    """

    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    receive_count: int
    attributes: dict[str, Any]
    lane: int = 0
    waited_seconds: float = 0.0
    stolen: bool = False
    polled: bool = False

    @property
    def model(self) -> str | None:
        """The model that its attributes name, by which it is chosen before it is read."""
        value: str | None = self.attributes.get(_MODEL_ATTRIBUTE, {}).get("StringValue")
        return value

    @property
    def redriven(self) -> bool:
        """Whether an agent gave it up before and somebody sent it back from the dead letters."""
        return ERROR_CODE_ATTRIBUTE in self.attributes


class TaskQueue:
    """Takes, keeps, gives back, removes and sets aside messages."""

    def __init__(
        self,
        sqs: Any,
        *,
        queue_urls: Sequence[str],
        dead_letter_queue_url: str,
        lease_seconds: int,
    ) -> None:
        """Connect.

        Args:
            sqs: SQS client.
            queue_urls: The runtime's queue, or the queues of its lanes in their order and, last,
                the overflow queue.
            dead_letter_queue_url: Queue for messages that are given up.
            lease_seconds: How long a message stays hidden from others after it was taken or kept.
        """
        self._sqs = sqs
        self._queue_urls = tuple(queue_urls)
        self._dead_letter_queue_url = dead_letter_queue_url
        self._lease_seconds = lease_seconds

    def receive(self, sqs: Any, *, wait_seconds: int = WAIT_SECONDS) -> Received | None:
        """Take a message from a runtime's only queue.

        Args:
            sqs: SQS client to wait with, whose connection may be cut.
            wait_seconds: How long to wait for one. Default: as long as SQS allows.

        Returns:
            The message, or None if none came.
        """
        found = self.receive_some(sqs, lane=0, most=1, wait_seconds=wait_seconds)
        return found[0] if found else None

    def receive_some(
        self, sqs: Any, *, lane: int, most: int, wait_seconds: int, stolen: bool = False
    ) -> list[Received]:
        """Take messages.

        Args:
            sqs: SQS client to wait with, whose connection may be cut.
            lane: Which queue to take them from.
            most: How many to take at most.
            wait_seconds: How long to wait for the first.
            stolen: Whether another replica is that queue's home. Default: none.

        Returns:
            The messages; empty if none came.
        """
        answer = sqs.receive_message(
            QueueUrl=self._queue_urls[lane],
            MaxNumberOfMessages=max(1, min(most, MOST_AT_ONCE)),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=self._lease_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp"],
            MessageAttributeNames=["All"],
        )
        return [
            Received(
                message_id=message["MessageId"],
                receipt=message["ReceiptHandle"],
                body=message["Body"],
                receive_count=int(message["Attributes"]["ApproximateReceiveCount"]),
                attributes=message.get("MessageAttributes", {}),
                lane=lane,
                waited_seconds=_seconds_since(message["Attributes"].get("SentTimestamp")),
                stolen=stolen,
                polled=wait_seconds > 0,
            )
            for message in answer.get("Messages", ())
        ]

    def count(self, lane: int) -> tuple[int, int]:
        """Return how many messages wait in a lane and how many are in hand, as far as SQS knows."""
        answer = self._sqs.get_queue_attributes(
            QueueUrl=self._queue_urls[lane], AttributeNames=[_WAITING, _IN_HAND]
        )
        return int(answer["Attributes"][_WAITING]), int(answer["Attributes"][_IN_HAND])

    def keep(self, message: Received) -> None:
        """Hide a message from others for another lease."""
        self._set_visibility(message, self._lease_seconds)

    def release(self, message: Received, *, after_seconds: int = 0) -> None:
        """Give a message back.

        Args:
            message: The message.
            after_seconds: How long it stays hidden. Default: not at all.
        """
        self._set_visibility(message, after_seconds)

    def delete(self, message: Received) -> None:
        """Remove a message for good."""
        self._sqs.delete_message(
            QueueUrl=self._queue_urls[message.lane], ReceiptHandle=message.receipt
        )

    def copy_to_lane(self, message: Received, lane: int) -> None:
        """Copy a message to another queue of the runtime.

        Args:
            message: The message.
            lane: The queue's number.
        """
        self._sqs.send_message(
            QueueUrl=self._queue_urls[lane],
            MessageBody=message.body,
            MessageAttributes=_copied(message),
        )

    def copy_to_dead_letters(self, message: Received, *, code: str, detail: str) -> None:
        """Copy a message to the dead letters, with the reason as attributes.

        Args:
            message: The message.
            code: One of `contract.result.ERROR_CODES`.
            detail: The reason in words.
        """
        reason = _FORBIDDEN.sub("?", detail)[:_MAX_ATTRIBUTE_CHARACTERS] or "unknown"
        self._sqs.send_message(
            QueueUrl=self._dead_letter_queue_url,
            MessageBody=message.body,
            MessageAttributes={
                **dict(list(_copied(message).items())[:8]),
                ERROR_CODE_ATTRIBUTE: {"DataType": "String", "StringValue": code},
                ERROR_DETAIL_ATTRIBUTE: {"DataType": "String", "StringValue": reason},
            },
        )

    def _set_visibility(self, message: Received, seconds: int) -> None:
        self._sqs.change_message_visibility(
            QueueUrl=self._queue_urls[message.lane],
            ReceiptHandle=message.receipt,
            VisibilityTimeout=seconds,
        )


def _copied(message: Received) -> dict[str, dict[str, str]]:
    """Return the attributes of a message for another."""
    return {
        name: {key: value[key] for key in ("DataType", "StringValue") if key in value}
        for name, value in message.attributes.items()
        if "StringValue" in value
    }


def _seconds_since(milliseconds: str | None) -> float:
    return max(0.0, time.time() - int(milliseconds) / 1000) if milliseconds else 0.0
