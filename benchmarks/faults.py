"""What a proxy may do to a call: which calls, how often, what."""

from __future__ import annotations

import enum
import fnmatch
import random
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass


class Kind(enum.Enum):
    """What happens to a call."""

    ERROR = "error"
    """500 instead of an answer; the call is not carried out."""
    THROTTLE = "throttle"
    """"Slow down", as each service says it; the call is not carried out."""
    DENY = "deny"
    """S3 denies access, for want of a permission that it names; the call is not carried out."""
    CUT = "cut"
    """The connection is cut before the call is carried out."""
    LOSE_ANSWER = "lose-answer"
    """The call is carried out, then the connection is cut."""
    SLOW = "slow"
    """The call takes longer."""
    HANG = "hang"
    """No answer ever; the call is not carried out."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Call:
    """A call on its way to AWS.

    Attributes:
        operation: Service and operation, such as ``sqs.DeleteMessage``.
        path: Path of the URL, such as ``/bucket/key``.
    """

    operation: str
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """A kind of fault and the calls that it meets.

    Attributes:
        operation: Pattern of the operations, such as ``s3.*``.
        kind: What happens.
        path: Pattern of the paths. Default: all.
        rate: Share of the calls that it meets. Default: all.
        times: At most how many calls it meets. Default: no limit.
        seconds: How much longer a slow call takes.
    """

    operation: str
    kind: Kind
    path: str = "*"
    rate: float = 1.0
    times: int | None = None
    seconds: float = 1.0

    def concerns(self, call: Call) -> bool:
        """Tell whether it can meet a call."""
        return fnmatch.fnmatchcase(call.operation, self.operation) and fnmatch.fnmatchcase(
            call.path, self.path
        )


class FaultPlan:
    """Decides about each call by a seeded chance, and counts. Safe for many threads."""

    def __init__(self, faults: Sequence[Fault] = (), *, seed: int = 0) -> None:
        """Make a plan.

        Args:
            faults: The faults; the first one that meets a call counts. Default: none.
            seed: Seed of all chance. Default: 0.
        """
        self._lock = threading.Lock()
        self._faults = tuple(faults)
        self._chance = random.Random(seed)
        self._done: Counter[Fault] = Counter()
        self.calls: Counter[str] = Counter()
        self.met: Counter[tuple[str, Kind]] = Counter()

    def set(self, *faults: Fault) -> None:
        """Replace the faults from now on."""
        with self._lock:
            self._faults = faults
            self._done.clear()

    def total(self) -> int:
        """Return how many calls met a fault."""
        with self._lock:
            return sum(self.met.values())

    def decide(self, call: Call) -> Fault | None:
        """Count a call and say which fault it meets."""
        with self._lock:
            self.calls[call.operation] += 1
            for fault in self._faults:
                spent = fault.times is not None and self._done[fault] >= fault.times
                if not spent and fault.concerns(call) and self._chance.random() < fault.rate:
                    self._done[fault] += 1
                    self.met[call.operation, fault.kind] += 1
                    return fault
        return None
