"""The runtime's queue, in the agent's words."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

WAIT_SECONDS = 20
"""Longest that SQS lets one call wait for a message."""

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
    """

    message_id: str
    receipt: str = field(repr=False)
    body: str = field(repr=False)
    receive_count: int
    attributes: dict[str, Any]

    @property
    def redriven(self) -> bool:
        """Whether an agent gave it up before and somebody sent it back from the dead letters."""
        return ERROR_CODE_ATTRIBUTE in self.attributes


class TaskQueue:
    """Takes, keeps, gives back, removes and sets aside messages."""

    def __init__(
        self, sqs: Any, *, queue_url: str, dead_letter_queue_url: str, lease_seconds: int
    ) -> None:
        """Connect.

        Args:
            sqs: SQS client.
            queue_url: The runtime's queue.
            dead_letter_queue_url: Queue for messages that are given up.
            lease_seconds: How long a message stays hidden from others after it was taken or kept.
        """
        self._sqs = sqs
        self._queue_url = queue_url
        self._dead_letter_queue_url = dead_letter_queue_url
        self._lease_seconds = lease_seconds

    def receive(self, sqs: Any, *, wait_seconds: int = WAIT_SECONDS) -> Received | None:
        """Take a message.

        Args:
            sqs: SQS client to wait with, whose connection may be cut.
            wait_seconds: How long to wait for one. Default: as long as SQS allows.

        Returns:
            The message, or None if none came.
        """
        answer = sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=1,
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=self._lease_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=["All"],
        )
        for message in answer.get("Messages", ()):
            return Received(
                message_id=message["MessageId"],
                receipt=message["ReceiptHandle"],
                body=message["Body"],
                receive_count=int(message["Attributes"]["ApproximateReceiveCount"]),
                attributes=message.get("MessageAttributes", {}),
            )
        return None

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
        self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message.receipt)

    def copy_to_dead_letters(self, message: Received, *, code: str, detail: str) -> None:
        """Copy a message to the dead letters, with the reason as attributes.

        Args:
            message: The message.
            code: One of `contract.result.ERROR_CODES`.
            detail: The reason in words.
        """
        kept = {
            name: {key: value[key] for key in ("DataType", "StringValue") if key in value}
            for name, value in message.attributes.items()
            if "StringValue" in value
        }
        reason = _FORBIDDEN.sub("?", detail)[:_MAX_ATTRIBUTE_CHARACTERS] or "unknown"
        self._sqs.send_message(
            QueueUrl=self._dead_letter_queue_url,
            MessageBody=message.body,
            MessageAttributes={
                **dict(list(kept.items())[:8]),
                ERROR_CODE_ATTRIBUTE: {"DataType": "String", "StringValue": code},
                ERROR_DETAIL_ATTRIBUTE: {"DataType": "String", "StringValue": reason},
            },
        )

    def _set_visibility(self, message: Received, seconds: int) -> None:
        self._sqs.change_message_visibility(
            QueueUrl=self._queue_url, ReceiptHandle=message.receipt, VisibilityTimeout=seconds
        )
