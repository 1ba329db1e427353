"""Take results from a backend's queue, as a backend does."""

from __future__ import annotations

from ..contract import ResultMessage
from .aws import AwsAccess

LONG_POLL_SECONDS = 2
"""Short enough to show progress; a backend takes 20."""


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
