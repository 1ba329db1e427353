"""How many nodes Karpenter may take away at a time, and when."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from aws_cdk import Duration

from .._validation import A_WHOLE_NUMBER, Faults
from .seconds import check_seconds, whole_seconds

_EVERY = ("annually", "yearly", "monthly", "weekly", "daily", "midnight", "hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_RANGE = re.compile(r"(?:[*?]|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([1-9][0-9]*))?")
_A_SCHEDULE = "a cron schedule in UTC, such as '0 9 * * mon-fri'"


class DisruptionReason(Enum):
    """Why Karpenter takes a node away by its own choice.

    There is no other: nodes are never emptied to save cost, since pods that draw would lose what
    they have begun.
    """

    EMPTY = "Empty"
    """It has had no pod for `GpuNodes.consolidate_after`."""
    DRIFTED = "Drifted"
    """It is no longer what the pool asks for, such as after an update of Bottlerocket."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DisruptionWindow:
    """When a budget counts: for a time from each hit of a schedule.

    Attributes:
        schedule: A cron schedule of five fields in UTC, such as ``0 9 * * mon-fri``, or one of
            ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly``.
        duration: How long the window is open from each hit, in whole minutes.
    """

    schedule: str
    duration: Duration

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        if faults.check_type("schedule", self.schedule, str, _A_SCHEDULE):
            _check_schedule(faults, self.schedule)
        before = len(faults.messages)
        faults.check(self.duration is not None, "duration is None: how long the window is open")
        check_seconds(faults, "duration", self.duration, least=60)
        if len(faults.messages) == before:
            seconds = self.duration.to_seconds(integral=False)
            faults.check(seconds % 60 == 0, f"duration is {seconds:g} seconds: whole minutes")
        faults.raise_if_any("DisruptionWindow")

    @property
    def minutes(self) -> int:
        """How long the window is open from each hit, in minutes."""
        return whole_seconds(self.duration, default=0) // 60


@dataclass(frozen=True, slots=True)
class DisruptionBudget:
    """Most nodes of a pool that Karpenter takes away at a time; made by one of its factories.

    Of several budgets that count at a time, the strictest holds. Outside its window a budget says
    nothing, and without any that counts there is no limit: to have nodes replaced at night only,
    allow none by day. Spot interruptions and `GpuNodes.expire_after` ask no budget.

    Attributes:
        limit: The most nodes, as a number or a percentage.
        reasons: For which reasons it counts.
        during: When it counts; None for always.
    """

    limit: str
    reasons: tuple[DisruptionReason, ...]
    during: DisruptionWindow | None

    @classmethod
    def of_nodes(
        cls, count: int, *reasons: DisruptionReason, during: DisruptionWindow | None = None
    ) -> DisruptionBudget:
        """Take away at most so many nodes at a time.

        Args:
            count: The most nodes. 0 keeps all of them, and needs a window where it counts for
                empty nodes.
            *reasons: For which reasons it counts. Default: all.
            during: When it counts. Default: always.

        Returns:
            The budget.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        return cls._of("count", count, reasons=reasons, during=during)

    @classmethod
    def of_percent(
        cls, percent: int, *reasons: DisruptionReason, during: DisruptionWindow | None = None
    ) -> DisruptionBudget:
        """Take away at most such a part of the pool's nodes at a time, rounded up.

        Args:
            percent: The part, 0 to 100. 0 keeps all of them, and needs a window where it counts
                for empty nodes.
            *reasons: For which reasons it counts. Default: all.
            during: When it counts. Default: always.

        Returns:
            The budget.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        return cls._of("percent", percent, most=100, unit="%", reasons=reasons, during=during)

    @classmethod
    def _of(
        cls,
        name: str,
        value: int,
        *,
        reasons: Sequence[DisruptionReason],
        during: DisruptionWindow | None,
        most: int | None = None,
        unit: str = "",
    ) -> DisruptionBudget:
        faults = Faults()
        if faults.check_type(name, value, int, A_WHOLE_NUMBER):
            allowed = "at least 0" if most is None else f"0 to {most}"
            faults.check(
                value >= 0 and (most is None or value <= most), f"{name} is {value}: {allowed}"
            )
        for reason in reasons:
            faults.check_type(
                "reason",
                reason,
                DisruptionReason,
                "a DisruptionReason, such as DisruptionReason.DRIFTED",
            )
        faults.check_type(
            "during",
            during,
            DisruptionWindow,
            "a DisruptionWindow(schedule=..., duration=...)",
            optional=True,
        )
        counted = tuple(dict.fromkeys(reasons)) or tuple(DisruptionReason)
        faults.check(
            value != 0 or during is not None or DisruptionReason.EMPTY not in counted,
            f"{name} is 0 at all times: empty nodes would never end; give a window, or "
            "DisruptionReason.DRIFTED alone",
        )
        faults.raise_if_any("DisruptionBudget")
        return cls(f"{value}{unit}", counted, during)

    def _manifest(self) -> dict[str, Any]:
        """Return the budget as a NodePool has it."""
        manifest: dict[str, Any] = {
            "nodes": self.limit,
            "reasons": [reason.value for reason in self.reasons],
        }
        if self.during is not None:
            manifest["schedule"] = self.during.schedule
            manifest["duration"] = f"{self.during.minutes}m"
        return manifest


DEFAULT_BUDGETS = (
    DisruptionBudget.of_percent(100, DisruptionReason.EMPTY),
    DisruptionBudget.of_nodes(1, DisruptionReason.DRIFTED),
)
"""Idle nodes end at once, and nodes that work are replaced one by one."""


def _check_schedule(faults: Faults, schedule: str) -> None:
    """Check a schedule field by field: Karpenter would find the fault after the deployment."""
    if schedule.startswith("@"):
        faults.check(schedule[1:] in _EVERY, f"schedule is {schedule!r}: {_A_SCHEDULE}")
        return
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        faults.check(False, f"schedule is {schedule!r}: {_A_SCHEDULE}")
        return
    for text, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        faults.check(
            all(_is_range(part, least, most, names) for part in text.lower().split(",")),
            f"schedule is {schedule!r}: {text!r} is no {name}, which is {least} to {most}"
            + (f" or {names[0]} to {names[-1]}" if names else ""),
        )


def _is_range(part: str, least: int, most: int, names: Sequence[str]) -> bool:
    """Tell whether a part of a field, such as ``1-5`` or ``*/2``, is within its limits."""
    match = _RANGE.fullmatch(part)
    if match is None:
        return False
    ends = [
        least + names.index(end) if end in names else int(end) if end.isdecimal() else -1
        for end in match.group(1, 2)
        if end is not None
    ]
    return all(least <= end <= most for end in ends) and ends == sorted(ends)
