"""Leases: kept while needed, and not a moment longer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from cdk_stable_diffusion.runtime_image.agent.leases import Leases
from cdk_stable_diffusion.runtime_image.agent.task_queue import Received
from tests.agent.scene import wait_until


class FakeQueue:
    """Notes what is kept and released."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.failures = 0
        self.in_keep = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def keep(self, message: Received) -> None:
        self.in_keep.set()
        self.go_on.wait(5)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("SQS is away")
        self.calls.append(("keep", message.receipt))

    def release(self, message: Received, *, after_seconds: int = 0) -> None:
        self.calls.append(("release", message.receipt))


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def leases(queue: FakeQueue) -> Iterator[Leases]:
    leases = Leases(queue, lease_seconds=0.15)  # type: ignore[arg-type]
    leases.start()
    yield leases
    leases.stop()


def _message(receipt: str) -> Received:
    attributes: dict[str, Any] = {}
    return Received(
        message_id=receipt, receipt=receipt, body="", receive_count=1, attributes=attributes
    )


def test_every_message_in_hand_is_kept(queue: FakeQueue, leases: Leases) -> None:
    for receipt in ("a", "b"):
        leases.hold(_message(receipt))
    wait_until(lambda: min(map(queue.calls.count, (("keep", "a"), ("keep", "b")))) >= 3, "beats")
    assert {message.receipt for message in leases.held()} == {"a", "b"}


def test_a_beat_that_fails_is_repeated_before_the_lease_ends(
    queue: FakeQueue, leases: Leases
) -> None:
    queue.failures = 1
    began = time.monotonic()
    leases.hold(_message("a"))
    wait_until(lambda: ("keep", "a") in queue.calls, "the second beat")
    assert queue.failures == 0
    assert time.monotonic() - began < 5


def test_nothing_is_kept_after_it_was_released(queue: FakeQueue, leases: Leases) -> None:
    message = _message("a")
    queue.go_on.clear()
    leases.hold(message)
    assert queue.in_keep.wait(5)
    releasing = threading.Thread(target=leases.release, args=(message,))
    releasing.start()
    # The beat is on its way; the release has to wait for it.
    assert queue.calls == []
    queue.go_on.set()
    releasing.join()
    assert queue.calls == [("keep", "a"), ("release", "a")]
    leases.hold(_message("b"))
    wait_until(lambda: queue.calls.count(("keep", "b")) >= 2, "beats of another message")
    assert queue.calls.count(("keep", "a")) == 1


def test_only_one_decides_about_a_message(queue: FakeQueue, leases: Leases) -> None:
    message = _message("a")
    leases.hold(message)
    assert leases.end(message)
    leases.release(message)
    assert ("release", "a") not in queue.calls
    assert leases.wait_until_empty(0)


def test_what_is_on_its_way_back_keeps_an_agent_from_ending(
    queue: FakeQueue, leases: Leases
) -> None:
    message = _message("a")
    leases.hold(message)
    with leases.letting_go():
        assert leases.end(message)
        assert not leases.wait_until_empty(0)
    assert leases.wait_until_empty(0)
