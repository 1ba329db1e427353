"""Giving messages back through no fault of theirs, so that it costs them no try.

SQS counts every receiving of a message. An agent that stops, or has taken more than it can begin
soon, has received a message without trying it; a count of these in the output bucket is what
`Returns.tries` takes off. It is written when a message is given back and read when one comes again,
so a task that runs at its first receiving costs neither. It goes with the message; what is left of
messages that ended otherwise, the lifecycle of the bucket that we make deletes.

Whoever is killed counts nothing, though it may have held a message without beginning it. So the
last try says when it begins, and without its word there is another: no task is given up that was
never begun.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from ...contract.environment import MOST_RETURNS
from ...contract.keys import RETURNED_PREFIX
from .aws_errors import is_absent
from .leases import Leases
from .task_queue import Received, TaskQueue

_LOG = logging.getLogger(__name__)
_NOTE_SECONDS = 1.0
_RELEASE_SECONDS = 2.0
_LAST_BEGAN = "last-began"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Note:
    """What is known of a message's receivings.

    Attributes:
        returned: How many of them were no tries.
        last_began: Whether the last try has begun.
    """

    returned: int = 0
    last_began: bool = False

    def to_text(self) -> str:
        return f"{self.returned} {_LAST_BEGAN}" if self.last_began else str(self.returned)

    @classmethod
    def from_text(cls, text: str) -> _Note:
        count, _, rest = text.partition(" ")
        return cls(returned=int(count), last_began=rest == _LAST_BEGAN)


class Returns:
    """Gives messages back, and knows how often that happened."""

    def __init__(
        self, queue: TaskQueue, leases: Leases, s3: Any, bucket: str, *, max_tries: int
    ) -> None:
        """Connect.

        Args:
            queue: Where the messages go.
            leases: The messages in hand.
            s3: S3 client.
            bucket: The output bucket.
            max_tries: How often a task is tried.
        """
        self._max_tries = max_tries
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
        with self._leases.letting_go():
            ours = [message for message in messages if self._leases.end(message)]
            # The count first: whoever gets the message next may read it at once.
            _together(self._note, ours, _NOTE_SECONDS)
            _together(self._release, ours, _RELEASE_SECONDS)

    def tries(self, message: Received) -> int:
        """Return which try of a message this is; one more than there are if none is left."""
        if message.receive_count == 1:
            return 1
        note = self._read(message)
        # Beyond the limit they count as tries: the queue's own limit would come without a result.
        tries = max(1, message.receive_count - min(note.returned, MOST_RETURNS))
        if tries <= self._max_tries:
            return tries
        spent = note.last_began or message.receive_count > self._max_tries + MOST_RETURNS
        return self._max_tries + 1 if spent else self._max_tries

    def begin(self, message: Received, tries: int) -> None:
        """Say that a message's try begins, if it is the last.

        If that cannot be said soon, it costs nothing but one more try after a kill.

        Args:
            message: The message.
            tries: Which try it is.
        """
        if tries >= self._max_tries:
            _together(self._note_beginning, [message], _NOTE_SECONDS)

    def forget(self, message: Received) -> None:
        """Delete what was noted of a message that has been deleted."""
        if message.receive_count == 1 and self._max_tries > 1:
            return
        try:
            self._s3.delete_object(Bucket=self._bucket, Key=RETURNED_PREFIX + message.message_id)
        except Exception as error:
            _LOG.warning("could not delete the note of %s: %s", message.message_id, error)

    def _note_beginning(self, message: Received) -> None:
        self._write(message, _Note(returned=self._read(message).returned, last_began=True))

    def _note(self, message: Received) -> None:
        self._write(message, _Note(returned=self._read(message).returned + 1))

    def _read(self, message: Received) -> _Note:
        if message.receive_count == 1:
            return _Note()
        try:
            answer = self._s3.get_object(
                Bucket=self._bucket, Key=RETURNED_PREFIX + message.message_id
            )
            return _Note.from_text(answer["Body"].read().decode("ascii"))
        except ClientError as error:
            if is_absent(error):
                return _Note()
            raise
        except ValueError:
            return _Note()

    def _write(self, message: Received, note: _Note) -> None:
        self._s3.put_object(
            Bucket=self._bucket,
            Key=RETURNED_PREFIX + message.message_id,
            Body=note.to_text().encode("ascii"),
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
            _LOG.warning("noting or giving back %s: %s", message.message_id, error)

    threads = [
        threading.Thread(target=run, args=(message,), name="give-back", daemon=True)
        for message in messages
    ]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
