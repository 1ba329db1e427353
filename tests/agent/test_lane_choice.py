"""Which lane an agent takes from, by what it has seen and when."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.contract.lanes import home_lanes, lane_of
from cdk_stable_diffusion.runtime_image.agent.lane_choice import (
    NEGLECTED_SECONDS,
    SERVE_EVERY_SECONDS,
    LaneChoice,
)

LANES = 8
MEMBERS = ("red", "green", "blue")
OWN = home_lanes("red", MEMBERS, LANES)
OTHERS = tuple(lane for lane in range(LANES) if lane not in OWN)
OVERFLOW = LANES


def choice(*, steal_after: float = 0.5, members: tuple[str, ...] = MEMBERS) -> LaneChoice:
    """Return the choice of replica "red" at second 0."""
    made = LaneChoice("red", LANES, steal_after=steal_after, now=0.0)
    made.learn_members(members)
    return made


def model_of(lane: int) -> str:
    """Return a model of a lane."""
    return next(name for name in map(str, range(1_000)) if lane_of(name, LANES) == lane)


def see(choice: LaneChoice, lane: int, waiting: int, *times: float) -> None:
    """Count a lane at some times."""
    for time in times:
        choice.counted(lane, waiting, time)


def steal(
    choice: LaneChoice, *near: str, now: float, load: float = 2.0, each: float = 0.2
) -> int | None:
    """Ask which lane to steal from."""
    return choice.lane_to_steal_from(near, now, load_seconds=load, pass_seconds=each)


# Home lanes


def test_a_replica_asks_its_home_lanes_and_no_other() -> None:
    assert len(OWN) > 1
    asking = choice()
    asked = []
    while (lane := asking.home_to_ask((), 0.0, ())) is not None:
        asked.append(lane)
        asking.received(lane, (), 0.0)
    assert sorted(asked) == [*OWN, OVERFLOW]


def test_who_is_alone_has_all_lanes() -> None:
    assert choice(members=()).homes == tuple(range(LANES))


def test_lanes_change_their_home_when_replicas_leave() -> None:
    moving = choice()
    moving.learn_members(("red",))
    assert moving.homes == home_lanes("red", ("red",), LANES)
    assert set(moving.homes) > set(OWN)
    new = set(moving.homes) - set(OWN)
    for lane in OWN:
        moving.received(lane, (), 1.0)
    assert moving.home_to_ask((), 1.0, ()) in new


def test_the_lane_of_the_nearest_model_comes_first() -> None:
    asking = choice()
    for lane in OWN:
        asking.received(lane, (1.0,), 0.0)
    asking.received(OVERFLOW, (1.0,), 0.5)
    first, second = OWN[-1], OWN[0]
    near = (model_of(OTHERS[0]), model_of(first), model_of(second))
    assert asking.home_to_ask(near, 1.0, ()) == first
    assert asking.home_to_ask(near, 1.0, (first,)) == second


def test_without_a_model_the_lane_comes_first_whose_turn_is_longest_ago() -> None:
    asking = choice()
    for time, lane in enumerate((*reversed(OWN), OVERFLOW)):
        asking.received(lane, (1.0,), float(time))
    assert asking.home_to_ask((), 5.0, ()) == OWN[-1]


def test_a_lane_without_a_turn_for_long_goes_before_that_of_the_model() -> None:
    asking = choice()
    for lane in (*OWN, OVERFLOW):
        asking.received(lane, (1.0,), 0.0)
    busy, rare = OWN[0], OWN[1]
    for time in range(1, int(SERVE_EVERY_SECONDS)):
        for lane in (*OWN, OVERFLOW):
            if lane != rare:
                asking.received(lane, (1.0,), float(time))
        assert asking.home_to_ask((model_of(busy),), float(time), ()) == busy
    assert asking.home_to_ask((model_of(busy),), SERVE_EVERY_SECONDS, ()) == rare


def test_an_empty_lane_is_left_alone_for_longer_and_longer_until_it_has_something() -> None:
    asking = choice()
    now, pauses = 0.0, []
    for lane in (*OWN[1:], OVERFLOW):
        asking.received(lane, (), math.inf)
    for _ in range(7):
        asking.received(OWN[0], (), now)
        pause = 0.0
        while asking.home_to_ask((), now + pause, ()) is None:
            pause += 0.01
        pauses.append(round(pause, 1))
        now += pause
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    asking.received(OWN[0], (0.0,), now)
    assert asking.home_to_ask((), now, ()) == OWN[0]


def test_a_hot_model_has_the_lanes_where_it_was_seen() -> None:
    asking = choice()
    for lane in (*OWN, OVERFLOW):
        asking.received(lane, (1.0,), 0.0)
    hot = model_of(OTHERS[0])
    asking.learn_model(hot, OWN[-1])
    assert asking.home_to_ask((hot,), 1.0, ()) == OWN[-1]


def test_what_others_passed_on_is_for_who_is_idle() -> None:
    asking = choice()
    for lane in OWN:
        asking.received(lane, (1.0,), 1.0)
    asking.received(OVERFLOW, (1.0,), 0.0)
    assert asking.home_to_ask((), 2.0, ()) == OVERFLOW
    assert asking.home_to_ask((), 2.0, (), idle=False) == OWN[0]
    assert asking.home_to_ask((), 2.0, OWN, idle=False) is None
    assert asking.home_to_ask((), SERVE_EVERY_SECONDS, (), idle=False) == OVERFLOW


def test_what_others_passed_on_has_its_turn_among_the_home_lanes() -> None:
    asking = choice()
    for lane in OWN:
        asking.received(lane, (1.0,), 0.0)
    asking.received(OVERFLOW, (1.0,), 1.0)
    near = model_of(OWN[0])
    assert asking.home_to_ask((near,), 2.0, ()) == OWN[0]
    for time in range(1, int(SERVE_EVERY_SECONDS)):
        for lane in OWN:
            asking.received(lane, (1.0,), 1.0 + time)
    assert asking.home_to_ask((near,), 1.0 + SERVE_EVERY_SECONDS, ()) == OVERFLOW


def test_no_model_belongs_to_what_was_passed_on() -> None:
    asking = choice()
    for lane in (*OWN, OVERFLOW):
        asking.received(lane, (1.0,), float(lane))
    model = model_of(OWN[1])
    asking.learn_model(model, OVERFLOW)
    assert asking.home_to_ask((model,), 10.0, ()) == OWN[1]
    assert asking.home_to_ask((model,), 10.0, OWN) == OVERFLOW


# Stealing


def test_what_is_too_young_or_was_seen_once_is_not_stolen() -> None:
    thief = choice()
    see(thief, OTHERS[0], 20, 1.0)
    assert steal(thief, now=1.0) is None
    see(thief, OTHERS[0], 20, 1.4)
    assert steal(thief, now=1.4) is None
    see(thief, OTHERS[0], 20, 1.5)
    assert steal(thief, now=1.5) == OTHERS[0]


def test_what_was_empty_in_between_is_young_again() -> None:
    thief = choice()
    see(thief, OTHERS[0], 20, 1.0)
    see(thief, OTHERS[0], 0, 1.2)
    see(thief, OTHERS[0], 20, 1.4, 1.6)
    assert steal(thief, now=1.6) is None


def test_what_was_not_looked_at_for_long_may_be_something_else() -> None:
    thief = choice()
    see(thief, OTHERS[0], 20, 1.0, 60.0)
    assert steal(thief, now=60.0) is None
    see(thief, OTHERS[0], 20, 60.5)
    assert steal(thief, now=60.5) == OTHERS[0]
    assert steal(thief, now=62.0) is None


def test_the_lane_of_a_near_model_goes_first_then_the_longest() -> None:
    thief = choice()
    short, long = OTHERS[:2]
    see(thief, short, 1, 1.0, 1.6)
    see(thief, long, 30, 1.0, 1.6)
    assert steal(thief, now=1.6) == long
    assert steal(thief, model_of(short), now=1.6) == short


def test_what_its_home_will_have_done_sooner_than_a_load_is_left_to_it() -> None:
    thief = choice()
    lane = OTHERS[0]
    for waiting, time in ((6, 1.0), (5, 1.3), (4, 1.6)):
        see(thief, lane, waiting, time)
    assert steal(thief, now=1.6) is None
    # But not by who has the model, nor where tasks are long.
    assert steal(thief, model_of(lane), now=1.6) == lane
    assert steal(thief, now=1.6, each=1.0) == lane


def test_what_its_home_has_in_hand_comes_before_what_waits() -> None:
    thief = choice()
    lane = OTHERS[0]
    for waiting, time in ((6, 1.0), (5, 1.3), (4, 1.6)):
        thief.counted(lane, waiting, time, in_hand=6)
    assert steal(thief, now=1.6) == lane


def test_what_its_home_does_not_get_on_with_is_taken() -> None:
    thief = choice()
    lane = OTHERS[0]
    see(thief, lane, 2, 1.0)
    see(thief, lane, 1, 1.1)
    times = [1.1 + 0.5 * step for step in range(1, 5)]
    see(thief, lane, 1, *times)
    assert steal(thief, now=times[-1]) is None
    see(thief, lane, 1, 3.4)
    assert steal(thief, now=3.4) == lane


def test_a_thief_goes_on_with_what_is_left_and_stops_where_nothing_is() -> None:
    thief = choice()
    lane = OTHERS[0]
    see(thief, lane, 3, 1.0, 1.6)
    thief.received(lane, (1.0,), 1.6)
    # What it took itself says nothing of the home.
    assert steal(thief, now=1.7) == lane
    assert thief.lane_to_go_on_with(model_of(lane), 1.7) == lane
    assert thief.lane_to_go_on_with(model_of(OTHERS[1]), 1.7) is None
    thief.received(lane, (), 1.8)
    assert steal(thief, now=1.8) is None


def test_a_thief_leaves_half_to_the_home() -> None:
    thief = choice()
    see(thief, OTHERS[0], 9, 1.0)
    see(thief, OTHERS[1], 1, 1.0)
    assert [thief.share(lane) for lane in OTHERS[:2]] == [4, 1]


def test_while_the_gpu_works_only_the_lane_of_its_model_is_looked_at() -> None:
    thief = choice()
    lane = OTHERS[0]
    assert thief.lane_to_watch(model_of(lane), 1.0) == lane
    see(thief, lane, 1, 1.0)
    assert thief.lane_to_watch(model_of(lane), 1.4) is None
    assert thief.lane_to_watch(model_of(lane), 1.5) == lane
    assert thief.lane_to_watch(model_of(OWN[0]), 1.5) is None


def test_what_nobody_wanted_for_long_is_left_over() -> None:
    taking = choice()
    taking.received(OWN[0], (0.4,), 1.0)
    assert taking.left_over_at == -math.inf
    taking.received(OWN[0], (0.4, 3.0), 2.0)
    assert taking.left_over_at == 2.0
    taking.received(OWN[0], (), 3.0)
    assert taking.left_over_at == 2.0
    taking.received(OWN[0], (0.0,), 4.0)
    assert taking.left_over_at == -math.inf


# Lanes that nobody takes from


def test_a_lane_that_nobody_takes_from_has_its_turn_with_who_is_busy() -> None:
    busy = choice()
    lane = OTHERS[0]
    see(busy, lane, 2, 0.0, 20.0, 40.0)
    assert busy.neglected_lane(40.0) is None
    see(busy, lane, 3, NEGLECTED_SECONDS)
    assert busy.neglected_lane(NEGLECTED_SECONDS) == lane
    # One at a time: the next one as late, if nobody has come until then.
    busy.received(lane, (70.0,), NEGLECTED_SECONDS)
    see(busy, lane, 2, NEGLECTED_SECONDS + 20.0)
    assert busy.neglected_lane(NEGLECTED_SECONDS + 20.0) is None
    see(busy, lane, 2, 2 * NEGLECTED_SECONDS)
    assert busy.neglected_lane(2 * NEGLECTED_SECONDS) == lane


@pytest.mark.parametrize(("waiting", "in_hand"), [(2, 0), (0, 0), (3, 1)])
def test_a_lane_that_somebody_works_on_is_not_neglected(waiting: int, in_hand: int) -> None:
    busy = choice()
    lane = OTHERS[0]
    see(busy, lane, 3, 0.0)
    busy.counted(lane, waiting, 20.0, in_hand=in_hand)
    see(busy, lane, 3, 40.0, NEGLECTED_SECONDS)
    assert busy.neglected_lane(NEGLECTED_SECONDS) is None


def test_a_lane_that_was_its_own_is_not_neglected_when_it_becomes_anothers() -> None:
    moving = choice()
    lane = OTHERS[0]
    see(moving, lane, 3, 0.0)
    moving.learn_members(("red",))
    moving.received(lane, (1.0,), 10.0)
    moving.learn_members(MEMBERS)
    see(moving, lane, 3, 10.0 + NEGLECTED_SECONDS)
    assert moving.neglected_lane(10.0 + NEGLECTED_SECONDS) is None


def test_who_is_busy_looks_at_each_other_lane_now_and_then() -> None:
    busy = choice()
    seen = list[int]()
    for now in range(60):
        while (lane := busy.lane_to_check(float(now))) is not None:
            seen.append(lane)
            busy.counted(lane, 1, float(now))
    assert sorted(seen) == sorted(3 * OTHERS)
    assert choice(members=()).lane_to_check(0.0) is None


# How much is asked


def test_each_of_the_others_is_counted_in_turn_and_none_of_its_own() -> None:
    thief = choice()
    counted = list[int]()
    for _ in range(2 * len(OTHERS)):
        lane, now = thief.lane_to_count()
        assert lane is not None
        counted.append(lane)
        thief.counted(lane, 0, now)
    assert sorted(counted) == sorted(2 * OTHERS)
    assert now <= 3.0


def test_what_was_just_seen_is_counted_again_when_it_is_old_enough() -> None:
    thief = choice(steal_after=0.25)
    first, now = thief.lane_to_count()
    assert first is not None
    thief.counted(first, 1, now)
    while (step := thief.lane_to_count())[0] != first:
        assert step[0] is not None
        thief.counted(step[0], 0, step[1])
    assert step[1] == pytest.approx(0.25)


def test_a_lane_that_cannot_be_asked_is_asked_less_and_less() -> None:
    thief, now, pauses = choice(), 0.0, []
    for _ in range(10):
        lane, at = thief.lane_to_count()
        pauses.append(at - now)
        now = at
        assert lane is not None
        thief.failed(lane, now)
    assert pauses == sorted(pauses)
    assert pauses[-1] == 20.0


def test_polls_grow_longer_while_there_is_nothing_to_do() -> None:
    polling = choice()
    assert [polling.poll_seconds(now) for now in (0, 10, 14, 18, 30, 60, 3_600)] == [
        2, 2, 2, 4, 10, 20, 20,
    ]  # fmt: skip
    polling.received(OWN[0], (0.0,), 3_600.0)
    assert polling.poll_seconds(3_601.0) == 2


@given(
    members=st.integers(1, 40),
    lanes=st.integers(2, 150),
)
def test_an_idle_replica_asks_less_than_60_times_a_minute(members: int, lanes: int) -> None:
    names = tuple(map(str, range(members)))
    idle = LaneChoice(names[0], lanes, steal_after=0.5, now=0.0)
    idle.learn_members(names)
    begin, requests = 600.0, 0
    for lane in range(lanes):
        idle.counted(lane, 0, begin)
    while (step := idle.lane_to_count())[1] < begin + 60:
        assert step[0] is not None
        idle.counted(step[0], 0, step[1])
        requests += 1
    polls = 60 / idle.poll_seconds(begin) * len(idle.own)
    # Each home lane is waited at, whatever it costs; one replica has 16 only where it is alone.
    assert requests + polls < 60 or len(idle.homes) > 18
