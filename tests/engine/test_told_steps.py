"""Which steps the engine tells the agent of."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cdk_stable_diffusion.runtime_image.told_steps import LONGEST_SILENCE_SECONDS, ToldSteps


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
    pauses = [after[1] - before[1] for before, after in pairwise(told[:-1])]
    assert all(pause >= LONGEST_SILENCE_SECONDS for pause in pauses)
