"""Giving messages back through no fault of theirs, so that it costs them no try.

SQS counts every receiving of a message. An agent that stops, or has taken more than it can begin
soon, has received a message without trying it; a count of these in the output bucket is what
`Returns.tries` takes off. It is written when a message is given back and read when one comes again,
so a task that runs at its first receiving costs neither. It goes with the message; what is left of
messages that ended otherwise, the lifecycle of the bucket that we make deletes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError

from ...contract.environment import MOST_RETURNS
from ...contract.keys import RETURNED_PREFIX
from .leases import Leases
from .outputs import ABSENT, error_code
from .task_queue import Received, TaskQueue

_LOG = logging.getLogger(__name__)
_NOTE_SECONDS = 1.0
_RELEASE_SECONDS = 2.0


class Returns:
    """Gives messages back, and knows how often that happened."""

    def __init__(self, queue: TaskQueue, leases: Leases, s3: Any, bucket: str) -> None:
        """Connect.

        Args:
            queue: Where the messages go.
            leases: The messages in hand.
            s3: S3 client.
            bucket: The output bucket.
        """
        self._queue = queue
        self._leases = leases
        self._s3 = s3
        self._bucket = bucket

    def give_back(self, messages: Iterable[Received]) -> None:
        """Give messages back at once, but for those that somebody else has decided about.

        A count that cannot be written soon stays as it was, which costs its message a try.

        Args:
            messages: The messages.
        """
        ours = [message for message in messages if self._leases.end(message)]
        # The count first: whoever gets the message next may read it at once.
        _together(self._note, ours, _NOTE_SECONDS)
        _together(self._release, ours, _RELEASE_SECONDS)

    def tries(self, message: Received) -> int:
        """Return how often a message has been tried, this time included."""
        if message.receive_count == 1:
            return 1
        # Beyond the limit they count as tries: the queue's own limit would come without a result.
        return max(1, message.receive_count - min(self._count(message), MOST_RETURNS))

    def forget(self, message: Received) -> None:
        """Delete what was noted of a message that has been deleted."""
        if message.receive_count == 1:
            return
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=RETURNED_PREFIX + message.message_id)
        except Exception as error:
            _LOG.warning("could not delete the count of %s: %s", message.message_id, error)

    def _count(self, message: Received) -> int:
        try:
            answer = self._s3.get_object(
                Bucket=self._bucket, Key=RETURNED_PREFIX + message.message_id
            )
            return int(answer["Body"].read())
        except ClientError as error:
            if error_code(error) in ABSENT:
                return 0
            raise
        except ValueError:
            return 0

    def _note(self, message: Received) -> None:
        before = 0 if message.receive_count == 1 else self._count(message)
        self._s3.put_object(
            Bucket=self._bucket,
            Key=RETURNED_PREFIX + message.message_id,
            Body=str(before + 1).encode("ascii"),
            ContentType="text/plain",
        )

    def _release(self, message: Received) -> None:
        self._queue.release(message)


def _together(action: Callable[[Received], None], messages: list[Received], seconds: float) -> None:
    """Do something for all messages at the same time, and wait for it no longer than that."""

    def run(message: Received) -> None:
        try:
            action(message)
        except Exception as error:
            # What is not released comes back by itself when its lease ends.
            _LOG.warning("giving back %s: %s", message.message_id, error)

    threads = [
        threading.Thread(target=run, args=(message,), name="give-back", daemon=True)
        for message in messages
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
