"""How much one API key may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .._validation import Faults, is_token

Period = Literal["day", "week", "month"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Throttle:
    """How fast one API key may send requests; what is faster is answered with 429.

    Attributes:
        rate_per_second: Requests a second that can be kept up. Default: 50.
        burst: Requests that may come at once before the rate holds. Default: 100.
    """

    rate_per_second: float = 50
    burst: int = 100

    def __post_init__(self) -> None:
        """Check the values."""
        faults = Faults()
        faults.check(
            is_token(self.rate_per_second) or 0 < self.rate_per_second <= 10_000,
            f"rate_per_second is {self.rate_per_second}: more than 0, at most 10000",
        )
        faults.check(
            is_token(self.burst) or 1 <= self.burst <= 5_000,
            f"burst is {self.burst}: 1 to 5000",
        )
        faults.raise_if_any("Throttle")


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """How many requests one API key may send in all; what is more is answered with 429.

    Attributes:
        requests: Requests in a period.
        period: "day", "week" or "month". Default: "day".
    """

    requests: int
    period: Period = "day"

    def __post_init__(self) -> None:
        """Check the values."""
        faults = Faults()
        faults.check(
            is_token(self.requests) or self.requests >= 1,
            f"requests is {self.requests}: at least 1",
        )
        faults.check(
            self.period in get_args(Period),
            f"period is {self.period!r}: one of {', '.join(get_args(Period))}",
        )
        faults.raise_if_any("Quota")
