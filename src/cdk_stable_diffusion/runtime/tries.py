"""How often a task is tried, and how often SQS may therefore hand it out."""

from __future__ import annotations

from ..contract.environment import MOST_RETURNS

MORE_RECEIVES_THAN_TRIES = 1 + MOST_RETURNS
"""What the queue's maximum of receives is above the number of tries.

Once more, so that an agent, not SQS, gives up a task whose tries were all cut short, and its client
hears of it; and as often more as a task may be given back untried, which SQS counts like any other
receiving.
"""

_SQS_MAX_RECEIVE_COUNT = 1_000

MAX_TRIES = _SQS_MAX_RECEIVE_COUNT - MORE_RECEIVES_THAN_TRIES
"""The most tries of a task: SQS hands a message out at most 1,000 times."""
