"""What a replica holds before its GPU needs it: the rules of the agent, in its own words.

Whoever takes a task keeps it from others, so it takes one only if it would begin soon: of lanes,
sooner than anybody else could have loaded its model. `runtime_image/agent/hand.py` is the other
half of this: a change there is a change here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from .cache import GPU
from .replica import Replica
from .setup import LONGEST_WAIT_BEYOND_STEALING, Lanes, SharedQueue

_VERY_SOON_SECONDS = 1.0
_MOST = 2
_MOST_FROM_LANES = 10
_WEIGHT_OF_LAST = 0.5


@dataclass(slots=True)
class Usual:
    """How long something takes, as far as it was seen: what came last counts for half.

    Attributes:
        seconds: The time; infinite as long as nothing was seen.
    """

    seconds: float = math.inf

    def learn(self, seconds: float) -> None:
        """Take note of one."""
        if self.seconds < math.inf:
            seconds = _WEIGHT_OF_LAST * seconds + (1 - _WEIGHT_OF_LAST) * self.seconds
        self.seconds = seconds
