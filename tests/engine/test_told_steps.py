"""Which steps the engine tells the agent of."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime_image.told_steps import (
    LONGEST_SILENCE_SECONDS,
    NEARLY_DONE_SECONDS,
    ToldSteps,
)


@given(st.lists(st.floats(0.001, 3.0), min_size=1, max_size=60))
def test_the_first_and_the_last_and_no_more_often_than_needed(seconds: list[float]) -> None:
    now = 0.0
    told_steps = ToldSteps(clock=lambda: now)
    told: list[tuple[int, float]] = []
    for step, each in enumerate(seconds, start=1):
        now += each
        if told_steps.includes(step, len(seconds)):
            told.append((step, now))
        # Nobody is left without a word for longer than that and the step at hand.
        assert now - told[-1][1] < LONGEST_SILENCE_SECONDS
    assert (told[0][0], told[-1][0]) == (1, len(seconds))
    for before, after in pairwise(told[:-1]):
        is_nearly_done = _remaining(after, len(seconds)) <= NEARLY_DONE_SECONDS
        was_nearly_done = _remaining(before, len(seconds)) <= NEARLY_DONE_SECONDS
        is_silent = after[1] - before[1] >= LONGEST_SILENCE_SECONDS
        assert is_silent or (is_nearly_done and not was_nearly_done)


def _remaining(told: tuple[int, float], steps: int) -> float:
    step, seconds = told
    return seconds / step * (steps - step)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.01, [1, 20]), (0.026, [1, 13, 20]), (0.075, [1, 8, 15, 18, 20]), (0.6, [*range(1, 21)])],
)
def test_one_is_told_shortly_before_the_end(seconds: float, told: list[int]) -> None:
    moments = iter([0.0, *(seconds * step for step in range(1, 21))])
    told_steps = ToldSteps(clock=lambda: next(moments))
    assert [step for step in range(1, 21) if told_steps.includes(step, 20)] == told
