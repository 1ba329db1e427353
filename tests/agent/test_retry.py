"""Trying again, and when not to."""

from __future__ import annotations

import threading
import time

import pytest
from botocore.exceptions import EndpointConnectionError

from cdk_stable_diffusion.runtime_image.agent.retry import Backoff, Retrier
from cdk_stable_diffusion.runtime_image.agent.shutdown import Shutdown


def _retrier(shutdown: Shutdown | None = None, *, total_seconds: float = 5.0) -> Retrier:
    backoff = Backoff(first_seconds=0.01, longest_seconds=0.02, total_seconds=total_seconds)
    return Retrier(shutdown or Shutdown(), backoff)


class _Flaky:
    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise ConnectionError(str(self.calls))
        return "done"


def test_it_goes_on_until_it_works() -> None:
    action = _Flaky(5)
    assert _retrier().call("it", action) == "done"
    assert action.calls == 6


def test_it_gives_up_with_the_last_error() -> None:
    action = _Flaky(10_000)
    with pytest.raises(ConnectionError) as caught:
        _retrier(total_seconds=0.1).call("it", action)
    assert str(caught.value) == str(action.calls)
    assert action.calls > 1


def test_what_is_final_is_not_tried_again() -> None:
    action = _Flaky(1)
    with pytest.raises(ConnectionError):
        _retrier().call("it", action, final=(ConnectionError,))
    assert action.calls == 1


def test_it_waits_longer_where_aws_is_away() -> None:
    backoff = Backoff(
        first_seconds=0.01, longest_seconds=0.02, total_seconds=0.1, away_seconds=30.0
    )
    began = time.monotonic()

    def action() -> str:
        if time.monotonic() - began < 0.4:
            raise EndpointConnectionError(endpoint_url="https://s3")
        return "done"

    assert Retrier(Shutdown(), backoff).call("it", action) == "done"


def test_a_request_to_stop_ends_the_tries_of_what_has_not_begun() -> None:
    shutdown = Shutdown()
    shutdown.request(30)
    action = _Flaky(10_000_000)
    with pytest.raises(ConnectionError):
        _retrier(shutdown).call("it", action, begun=False)
    assert action.calls == 1


def test_it_stops_when_time_is_up() -> None:
    shutdown = Shutdown()
    threading.Timer(0.1, shutdown.request, (0.0,)).start()
    began = time.monotonic()
    with pytest.raises(ConnectionError):
        _retrier(shutdown, total_seconds=60).call("it", _Flaky(10_000_000))
    assert time.monotonic() - began < 5


def test_a_request_to_stop_leaves_time_for_what_was_begun() -> None:
    shutdown = Shutdown()
    shutdown.request(30)
    assert _retrier(shutdown).call("it", _Flaky(3)) == "done"


def test_a_second_request_can_only_hurry() -> None:
    shutdown = Shutdown()
    shutdown.request(1)
    shutdown.request(100)
    assert shutdown.remaining() <= 1
    shutdown.request(0)
    assert shutdown.over and shutdown.requested and shutdown.remaining() == 0
