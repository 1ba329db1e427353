"""What all queues of a runtime say together.

SQS measures each queue by itself, so that what is said of a runtime with several lanes is computed
of theirs and of the overflow queue's, for each minute: how many tasks there are in all, and how old
the oldest of all is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs

if TYPE_CHECKING:
    from ..runtime import SdRuntime

MOST_METRICS_OF_AN_ALARM = 10
"""CloudWatch computes an alarm of so many metrics at most."""

_OVERFLOW = "Overflow"


def of_each_queue(
    runtime: SdRuntime, metric: Callable[[sqs.Queue], cloudwatch.Metric]
) -> dict[str, cloudwatch.Metric]:
    """Return a metric of each queue in which a runtime's tasks wait.

    Args:
        runtime: The runtime.
        metric: Returns the metric of a queue.

    Returns:
        The metrics, by the number of the lane, or "Overflow".
    """
    return {
        _OVERFLOW if queue is runtime.overflow_queue else str(lane): metric(queue)
        for lane, queue in enumerate(runtime.queues)
    }


def summed(metrics: Mapping[str, cloudwatch.Metric], *, label: str) -> cloudwatch.IMetric:
    """Return the sum of a metric of each queue.

    Args:
        metrics: What `of_each_queue` returned.
        label: What a graph calls it: one word in lower case.
    """
    return _of_all("SUM", metrics, label=label)


def largest(metrics: Mapping[str, cloudwatch.Metric], *, label: str) -> cloudwatch.IMetric:
    """Return the largest of a metric of each queue.

    Args:
        metrics: What `of_each_queue` returned.
        label: What a graph calls it: one word in lower case.
    """
    return _of_all("MAX", metrics, label=label)


def oldest_ages(runtime: SdRuntime) -> dict[str, cloudwatch.Metric]:
    """Return how old the oldest task of each queue is, in seconds.

    Args:
        runtime: The runtime.
    """
    return of_each_queue(
        runtime,
        lambda queue: queue.metric_approximate_age_of_oldest_message(
            period=Duration.minutes(1), statistic="Maximum"
        ),
    )


def watchable(metrics: Mapping[str, cloudwatch.Metric], *, label: str) -> list[cloudwatch.IMetric]:
    """Return the largest of a metric of each queue, in as few parts as alarms may watch.

    Args:
        metrics: What `of_each_queue` returned.
        label: What an alarm calls those of several queues: one word in lower case.
    """
    named = list(metrics.items())
    parts = [
        dict(named[first : first + MOST_METRICS_OF_AN_ALARM])
        for first in range(0, len(named), MOST_METRICS_OF_AN_ALARM)
    ]
    return [
        next(iter(part.values())) if len(part) == 1 else largest(part, label=label)
        for part in parts
    ]


def _of_all(
    function: str, metrics: Mapping[str, cloudwatch.Metric], *, label: str
) -> cloudwatch.IMetric:
    if len(metrics) == 1:
        (metric,) = metrics.values()
        return metric.with_(label=label)
    # A graph or an alarm knows its metrics by names, which none may share.
    named = {f"{label}{name}": metric for name, metric in metrics.items()}
    return cloudwatch.MathExpression(
        # Of a queue that was idle for hours nothing is measured: such a list is of all the others.
        # Filled with 0, the last minutes would always be 0, which SQS measures late.
        expression=f"{function}([{', '.join(named)}])",
        using_metrics=dict(named),
        label=label,
        period=Duration.minutes(1),
    )
