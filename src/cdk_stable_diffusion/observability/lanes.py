"""What all lanes of a runtime say together.

SQS measures each queue by itself, so that what is said of a runtime with several lanes is computed
of theirs, for each minute: how many tasks there are in all, and how old the oldest of all is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch

if TYPE_CHECKING:
    from ..runtime import SdRuntime

MOST_METRICS_OF_AN_ALARM = 10
"""CloudWatch computes an alarm of so many metrics at most."""


def summed(metrics: Sequence[cloudwatch.Metric], *, label: str) -> cloudwatch.IMetric:
    """Return the sum of a metric of each lane.

    Args:
        metrics: The metric of each lane.
        label: What a graph calls it: one word in lower case.
    """
    return _of_all("SUM", metrics, label=label)


def largest(metrics: Sequence[cloudwatch.Metric], *, label: str) -> cloudwatch.IMetric:
    """Return the largest of a metric of each lane.

    Args:
        metrics: The metric of each lane.
        label: What a graph calls it: one word in lower case.
    """
    return _of_all("MAX", metrics, label=label)


def oldest_ages(runtime: SdRuntime) -> list[cloudwatch.Metric]:
    """Return how old the oldest task of each lane is, in seconds.

    Args:
        runtime: The runtime.
    """
    return [
        queue.metric_approximate_age_of_oldest_message(
            period=Duration.minutes(1), statistic="Maximum"
        )
        for queue in runtime.queues
    ]


def watchable(metrics: Sequence[cloudwatch.Metric]) -> list[cloudwatch.IMetric]:
    """Return the largest of a metric of each lane, in as few parts as alarms may watch.

    Args:
        metrics: The metric of each lane.
    """
    parts = [
        metrics[first : first + MOST_METRICS_OF_AN_ALARM]
        for first in range(0, len(metrics), MOST_METRICS_OF_AN_ALARM)
    ]
    return [part[0] if len(part) == 1 else largest(part, label="lane") for part in parts]


def _of_all(
    function: str, metrics: Sequence[cloudwatch.Metric], *, label: str
) -> cloudwatch.IMetric:
    if len(metrics) == 1:
        return metrics[0].with_(label=label)
    # A graph or an alarm knows its metrics by names, which none may share.
    named = {f"{label}{lane}": metric for lane, metric in enumerate(metrics)}
    return cloudwatch.MathExpression(
        # Of a queue that was idle for hours nothing is measured: such a list is of all the others.
        # Filled with 0, the last minutes would always be 0, which SQS measures late.
        expression=f"{function}([{', '.join(named)}])",
        using_metrics=dict(named),
        label=label,
        period=Duration.minutes(1),
    )
