"""What an agent of several lanes holds ahead, and what of it goes first."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import pytest

from cdk_stable_diffusion.contract import TaskMessage, TaskRequest, timestamp
from cdk_stable_diffusion.runtime_image.agent.hand import LanesHand, QueueHand
from cdk_stable_diffusion.runtime_image.agent.loading import Loading
from cdk_stable_diffusion.runtime_image.agent.near_models import NearModels
from cdk_stable_diffusion.runtime_image.agent.progress import Progress
from cdk_stable_diffusion.runtime_image.agent.sharing import Sharing
from cdk_stable_diffusion.runtime_image.agent.task_queue import Received
from cdk_stable_diffusion.runtime_image.agent.work import Work
from tests.agent.fake_engine import FakeEngine

_numbers = itertools.count()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """Return the time."""
        return self.now


class Parts:
    """A hand and what it goes by."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.engine = FakeEngine()
        self.progress, self.loading = Progress(), Loading()
        self.near = NearModels(self.engine)
        self.left_over_at = -math.inf
        self.alone = False
        sharing = Sharing(most_tasks=1, task_timeout_seconds=60)
        self.of_queue = QueueHand(self.progress, sharing, most_tasks=2)
        self.of_lanes = LanesHand(
            self.of_queue,
            progress=self.progress,
            sharing=sharing,
            loading=self.loading,
            near=self.near,
            left_over_at=lambda: self.left_over_at,
            alone=lambda: self.alone,
            steal_after=0.5,
        )

    def drew(self, seconds: float) -> None:
        """Take so long for a pass."""
        self.progress.begin()
        self.clock.now += seconds
        self.progress.end()

    def loaded(self, seconds: float) -> None:
        """Take so long for a load."""
        self.loading.begin()
        self.clock.now += seconds
        self.loading.end(loaded=True)

    def until_another(self, *models: str) -> float:
        """Return in how long another may be taken with tasks of models in hand."""
        return self.of_lanes.seconds_until_another(list(map(work, models)), chosen=False)


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Parts:
    """A hand under a clock of its own."""
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock.monotonic)
    return Parts(clock)


def work(model: str) -> Work:
    """Make a task of a model."""
    number = str(next(_numbers))
    task = TaskMessage(
        task_id=number,
        submitted_at=timestamp(),
        runtime="shapes",
        runtime_class="dynamic",
        request=TaskRequest.parse({"model": model, "prompt": "a circle"}),
    )
    message = Received(message_id=number, receipt=number, body="", receive_count=1, attributes={})
    return Work(message, task)


def test_until_a_load_was_measured_lanes_are_like_a_queue(parts: Parts) -> None:
    parts.drew(4.0)
    parts.progress.begin()
    assert (parts.of_queue.most(), parts.of_lanes.most()) == (2, 4)
    assert parts.until_another() == pytest.approx(2.0)
    assert parts.until_another("a") == pytest.approx(7.0)


def test_in_its_first_load_it_takes_one_more_of_that_model(parts: Parts) -> None:
    parts.near.uses("a")
    parts.loading.begin()
    assert parts.of_lanes.seconds_until_near([work("b")], chosen=False) == 0.0
    assert math.isinf(parts.of_lanes.seconds_until_near([work("a")], chosen=False))


def test_it_holds_what_would_begin_while_a_model_loads_and_at_most_ten(parts: Parts) -> None:
    parts.loaded(6.0)
    parts.drew(2.0)
    assert parts.of_lanes.most() == 3
    parts.drew(0.0)
    parts.drew(0.0)
    assert parts.of_lanes.most() == 10


def test_who_wants_nothing_held_ahead_gets_nothing(parts: Parts) -> None:
    sharing = Sharing(most_tasks=1, task_timeout_seconds=60)
    of_queue = QueueHand(parts.progress, sharing, most_tasks=0)
    of_lanes = LanesHand(
        of_queue,
        progress=parts.progress,
        sharing=sharing,
        loading=parts.loading,
        near=parts.near,
        left_over_at=lambda: parts.clock.now,
        alone=lambda: False,
        steal_after=0.5,
    )
    parts.loaded(6.0)
    parts.drew(1.0)
    assert of_lanes.most() == 0


def test_where_a_replica_may_be_idle_it_takes_late_and_little(parts: Parts) -> None:
    parts.loaded(6.0)
    parts.drew(2.0)
    parts.near.uses("a")
    parts.progress.begin()
    assert parts.until_another() == pytest.approx(1.5)
    # After one of the model that is there, and after a load.
    assert parts.until_another("a") == pytest.approx(3.5)
    assert parts.until_another("b") == pytest.approx(9.5)
    assert parts.of_lanes.room(1) == 1


def test_where_all_are_busy_it_takes_all_that_three_loads_have_time_for(parts: Parts) -> None:
    parts.loaded(6.0)
    parts.drew(2.0)
    parts.left_over_at = parts.clock.now
    parts.progress.begin()
    assert parts.until_another("b", "c") == pytest.approx(6.0 - 18.0)
    # Three are enough to choose from.
    assert math.isinf(parts.until_another("b", "c", "d"))
    assert (parts.of_lanes.most(), parts.of_lanes.room(1)) == (9, 8)
    for _ in range(2):
        parts.drew(0.0)
    assert parts.of_lanes.most() == 30


def test_what_needs_the_present_model_need_not_wait_for_others(parts: Parts) -> None:
    assert math.isinf(parts.of_lanes.seconds_until_near([], chosen=False))
    parts.loaded(6.0)
    parts.drew(2.0)
    parts.near.uses("a")
    parts.progress.begin()
    hand = list(map(work, "bcd"))
    assert parts.of_lanes.seconds_until_near(hand, chosen=False) == pytest.approx(1.5)
    hand.append(work("a"))
    assert parts.of_lanes.seconds_until_near(hand, chosen=False) == pytest.approx(3.5)
    assert math.isinf(parts.of_queue.seconds_until_near(hand, chosen=False))


def test_what_comes_unasked_is_left_to_who_would_begin_with_it_sooner(parts: Parts) -> None:
    def too_early(model: str, *models: str) -> bool:
        return parts.of_lanes.comes_too_early(model, list(map(work, models)), chosen=False)

    assert not too_early("b")
    parts.loaded(6.0)
    parts.drew(4.0)
    # The GPU has yet to load what it has taken.
    parts.of_lanes.took(0, "a")
    assert too_early("b")
    parts.near.uses("a")
    parts.progress.begin()
    assert too_early("b") and not too_early("a")
    assert too_early("a", "a", "a") and not too_early("a", "a", "b")
    parts.clock.now += 2.0
    assert not too_early("b") and too_early("c", "b")
    assert not parts.of_queue.comes_too_early("c", [work("b")], chosen=False)
    parts.alone = True
    assert not too_early("c", "b")
    parts.alone, parts.left_over_at = False, parts.clock.now
    assert not too_early("c", "b")


def test_what_would_begin_late_is_passed_on_to_who_is_idle(parts: Parts) -> None:
    def late(model: str, *models: str) -> bool:
        return parts.of_lanes.begins_late(model, list(map(work, models)), chosen=False)

    parts.loaded(6.0)
    assert not parts.of_lanes.others_may_be_idle()
    parts.drew(1.0)
    assert parts.of_lanes.others_may_be_idle()
    parts.near.uses("a")
    parts.near.is_known("kept", "1")
    parts.engine.held = {"1": "memory"}
    parts.progress.begin()
    # Another would have to load what this one has.
    assert late("b") and not late("a") and not late("kept")
    assert late("kept", "b", "c") and not late("a", "b", "c")
    assert not parts.of_queue.begins_late("b", [], chosen=False)
    parts.clock.now += 0.6
    assert not late("b") and late("b", "c")
    parts.alone = True
    assert not parts.of_lanes.others_may_be_idle() and not late("b", "c")
    parts.alone, parts.left_over_at = False, parts.clock.now
    assert not parts.of_lanes.others_may_be_idle() and not late("b", "c")


def test_what_is_held_for_long_is_given_back_once_somebody_may_be_idle(parts: Parts) -> None:
    parts.loaded(6.0)
    parts.drew(2.0)
    parts.near.uses("a")
    parts.progress.begin()
    hand = list(map(work, "bacbaaaaa"))

    def models(works: Sequence[Work]) -> str:
        return "".join(work.task.request.model for work in works)

    parts.left_over_at = parts.clock.now - 9.0
    assert not parts.of_lanes.too_early(hand, chosen=False)
    parts.left_over_at -= 0.1
    # Another has loaded "a" before the last of them begins, and finds the others long before.
    assert models(parts.of_lanes.too_early(hand, chosen=False)) == "aabcb"
    assert models(parts.of_lanes.too_early(hand[:1], chosen=False)) == ""
    parts.alone = True
    assert not parts.of_lanes.too_early(hand, chosen=False)
    assert not parts.of_queue.too_early(hand, chosen=False)


def test_while_a_model_loads_it_looks_for_more(parts: Parts) -> None:
    parts.loaded(6.0)
    parts.drew(1.0)
    parts.left_over_at = parts.clock.now
    assert math.isinf(parts.until_another())
    parts.loading.begin()
    parts.clock.now += 2.0
    assert parts.until_another() == pytest.approx(4.0 + 1.0 - 18.0)


def test_what_the_engine_has_goes_first_and_the_oldest_of_it(parts: Parts) -> None:
    for name, digest in (("a", "1"), ("b", "2"), ("c", "3")):
        parts.near.is_known(name, digest)
    parts.engine.held = {"2": "memory", "3": "gpu"}
    hand = [work(model) for model in ("a", "b", "b", "c", "a", "c")]
    order = list[str]()
    while hand:
        index = parts.of_lanes.first(hand)
        parts.of_lanes.took(index, hand[index].task.request.model)
        order.append(hand.pop(index).task.request.model)
    assert order == ["c", "c", "b", "b", "a", "a"]


def test_of_what_is_to_be_loaded_the_most_asked_for_goes_first(parts: Parts) -> None:
    hand = [work(model) for model in "abbccc"]
    assert parts.of_lanes.first(hand) == 3
    assert parts.of_lanes.first(hand[:4]) == 1


def test_the_oldest_goes_first_every_half_minute(parts: Parts) -> None:
    parts.near.uses("near")
    hand = [work("far"), *(work("near") for _ in range(5))]
    taken = []
    for _ in range(4):
        index = parts.of_lanes.first(hand)
        parts.of_lanes.took(index, hand[index].task.request.model)
        taken.append(index)
        parts.clock.now += 11.0
    assert taken == [1, 1, 1, 0]
    assert parts.of_lanes.first(hand) == 1


def test_what_waits_for_its_turn_is_kept_while_the_gpu_takes_others(parts: Parts) -> None:
    since = parts.clock.now
    parts.clock.now += 9.0
    parts.of_lanes.took(1, "a")
    parts.clock.now += 9.0
    assert parts.of_queue.waits_too_long(since)
    assert not parts.of_lanes.waits_too_long(since)
    parts.clock.now += 1.0
    assert parts.of_lanes.waits_too_long(since)


def test_what_is_in_hand_is_kept_while_a_model_takes_long_to_load(parts: Parts) -> None:
    parts.loaded(15.0)
    since = parts.clock.now
    parts.clock.now += 29.0
    assert not parts.of_lanes.waits_too_long(since)
    parts.clock.now += 1.0
    assert parts.of_lanes.waits_too_long(since)


def test_a_model_whose_weights_changed_is_not_near(parts: Parts) -> None:
    parts.near.is_known("a", "1")
    parts.engine.held = {"1": "gpu"}
    assert list(parts.near.tiers()) == ["a"]
    parts.near.is_known("a", "2")
    assert not parts.near.tiers()
