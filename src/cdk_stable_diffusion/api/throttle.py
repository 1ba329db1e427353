"""How much one API key may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .._validation import A_NUMBER, A_WHOLE_NUMBER, Faults, is_token, shown

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
        rate = self.rate_per_second
        if faults.check_type("rate_per_second", rate, (int, float), A_NUMBER, tokens=True):
            faults.check(
                is_token(rate) or 0 < rate <= 10_000,
                f"rate_per_second is {rate}: more than 0, at most 10000",
            )
        if faults.check_type("burst", self.burst, int, A_WHOLE_NUMBER, tokens=True):
            faults.check(1 <= self.burst <= 5_000, f"burst is {self.burst}: 1 to 5000")
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
        if faults.check_type("requests", self.requests, int, A_WHOLE_NUMBER, tokens=True):
            faults.check(self.requests >= 1, f"requests is {self.requests}: at least 1")
        faults.check(
            self.period in get_args(Period),
            f"period is {shown(self.period)}: one of {', '.join(get_args(Period))}",
        )
        faults.raise_if_any("Quota")
