"""Durations as whole seconds, which is what Kubernetes and SQS take."""

from __future__ import annotations

import math

from aws_cdk import Duration

from .._validation import A_DURATION, Faults


def whole_seconds(duration: Duration | None, *, default: int) -> int:
    """Return a duration in seconds, rounded up.

    Args:
        duration: The duration, or None.
        default: Seconds for None.
    """
    return default if duration is None else math.ceil(duration.to_seconds(integral=False))


def check_seconds(
    faults: Faults,
    name: str,
    duration: Duration | None,
    *,
    least: int,
    most: int | None = None,
) -> None:
    """Check that a duration is known at synthesis and within a range.

    Manifests are text with arithmetic behind it, so that a token cannot stand for a duration.

    Args:
        faults: Where to record what is wrong.
        name: Name of the argument.
        duration: The duration, or None for its default.
        least: Fewest seconds.
        most: Most seconds, or None for no limit.
    """
    if not faults.check_type(name, duration, Duration, A_DURATION, optional=True):
        return
    assert duration is not None
    if duration.is_unresolved():
        faults.check(False, f"{name} is a token: it must be known at synthesis")
        return
    seconds = duration.to_seconds(integral=False)
    limits = f"at least {least}" if most is None else f"{least} to {most}"
    faults.check(
        least <= seconds and (most is None or seconds <= most),
        f"{name} is {seconds:g} seconds: {limits}",
    )
