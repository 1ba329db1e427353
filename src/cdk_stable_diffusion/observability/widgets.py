"""The graphs of the dashboard."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs

from ..contract.metrics import (
    METRIC_NAMESPACE,
    MODEL_HITS,
    MODEL_LOADS,
    TASKS_STOLEN,
    runtime_dimensions,
)
from ..contract.tiers import DISK, GPU, MEMORY, S3
from .lanes import largest, of_each_queue, oldest_ages, summed

if TYPE_CHECKING:
    from ..api import ResultQueue, SdApi
    from ..runtime import SdRuntime

_MINUTE = 1
_PLACES = {GPU: "GPU", MEMORY: "memory", DISK: "disk", S3: "S3"}
_THIRD = 8
_WHOLE = 24


def api_widgets(api: SdApi) -> list[cloudwatch.IWidget]:
    """Return the graphs of an API: requests, errors, latency.

    Args:
        api: The API.
    """
    period = Duration.minutes(_MINUTE)
    return [
        _graph("Requests", [_labelled(api.metric_count(period=period), "requests")]),
        _graph(
            "Errors",
            [
                _labelled(api.metric_client_error(period=period), "4xx"),
                _labelled(api.metric_server_error(period=period), "5xx"),
            ],
        ),
        _graph(
            "Latency of the API",
            [
                _labelled(api.metric_latency(period=period, statistic=statistic), statistic)
                for statistic in ("p50", "p99")
            ],
            unit="milliseconds",
        ),
    ]


def flow_widgets(api: SdApi, *, failed_results: sqs.IQueue) -> list[cloudwatch.IWidget]:
    """Return the graphs of what passes through an API's topics: tasks in, results out.

    Args:
        api: The API.
        failed_results: Queue that gets every failed result.
    """
    period = Duration.minutes(_MINUTE)
    tasks = api.request_topic.metric_number_of_messages_published(period=period, statistic="Sum")
    results = api.result_topic.metric_number_of_messages_published(period=period, statistic="Sum")
    failed = failed_results.metric_number_of_messages_sent(period=period, statistic="Sum")
    return [
        _graph("Tasks accepted", [_labelled(tasks, "tasks")]),
        _graph(
            "Results by status",
            [
                cloudwatch.MathExpression(
                    expression="FILL(results, 0) - FILL(failed, 0)",
                    using_metrics={"results": results, "failed": failed},
                    label="succeeded or cancelled",
                    period=period,
                ),
                _labelled(failed, "failed"),
            ],
        ),
    ]


def runtime_widgets(runtime: SdRuntime, *, oldest_seconds: int) -> list[cloudwatch.IWidget]:
    """Return the graphs of a runtime: depth and age of its queues, and its dead letters.

    Args:
        runtime: The runtime.
        oldest_seconds: Age at which its alarm goes off.
    """
    period = Duration.minutes(_MINUTE)
    waiting = of_each_queue(
        runtime,
        lambda queue: queue.metric_approximate_number_of_messages_visible(
            period=period, statistic="Maximum"
        ),
    )
    running = of_each_queue(
        runtime,
        lambda queue: queue.metric_approximate_number_of_messages_not_visible(
            period=period, statistic="Maximum"
        ),
    )
    return [
        _graph(
            f"{runtime.name}: tasks",
            [
                summed(waiting, label="waiting"),
                summed(running, label="running"),
            ],
        ),
        _graph(
            f"{runtime.name}: age of the oldest task",
            [largest(oldest_ages(runtime), label="age")],
            unit="seconds",
            alarm_at=oldest_seconds,
        ),
        dead_letter_widget(f"{runtime.name}: dead letters", runtime.dead_letter_queue),
    ]


def model_widgets(runtime: SdRuntime) -> list[cloudwatch.IWidget]:
    """Return the graphs of where a dynamic runtime finds models, and whose tasks its pods take.

    Args:
        runtime: The runtime.
    """
    return [
        _graph(
            f"{runtime.name}: where models were",
            [
                _labelled(_agents(runtime, name), _PLACES[place])
                for place, name in MODEL_HITS.items()
            ],
        ),
        _graph(
            f"{runtime.name}: loads and steals",
            [
                _labelled(_agents(runtime, MODEL_LOADS), "models loaded"),
                _labelled(_agents(runtime, TASKS_STOLEN), "tasks of other pods' lanes"),
            ],
        ),
    ]


def _agents(runtime: SdRuntime, name: str) -> cloudwatch.Metric:
    """Return a metric that the agents of a runtime write."""
    return cloudwatch.Metric(
        namespace=METRIC_NAMESPACE,
        metric_name=name,
        dimensions_map=runtime_dimensions(runtime.name, runtime.queue.queue_name),
        period=Duration.minutes(_MINUTE),
        statistic="Sum",
    )


def result_queue_widgets(name: str, results: ResultQueue) -> list[cloudwatch.IWidget]:
    """Return the graphs of a backend's queue.

    Args:
        name: Its name.
        results: The queue.
    """
    period = Duration.minutes(_MINUTE)
    return [
        _graph(
            f"{name}: results waiting",
            [
                _labelled(
                    results.queue.metric_approximate_number_of_messages_visible(
                        period=period, statistic="Maximum"
                    ),
                    "waiting",
                )
            ],
        ),
        dead_letter_widget(f"{name}: dead letters", results.dead_letter_queue),
    ]


def dead_letter_widget(title: str, queue: sqs.IQueue) -> cloudwatch.IWidget:
    """Return the graph of a dead-letter queue.

    Args:
        title: Its title.
        queue: The queue.
    """
    return _graph(
        title,
        [
            _labelled(
                queue.metric_approximate_number_of_messages_visible(
                    period=Duration.minutes(_MINUTE), statistic="Maximum"
                ),
                "messages",
            )
        ],
    )


def heading(text: str) -> cloudwatch.IWidget:
    """Return a heading.

    Args:
        text: Its text.
    """
    return cloudwatch.TextWidget(
        markdown=f"## {text}",
        width=_WHOLE,
        height=1,
        background=cloudwatch.TextWidgetBackground.TRANSPARENT,
    )


def _labelled(metric: cloudwatch.Metric, label: str) -> cloudwatch.Metric:
    return metric.with_(label=label)


def _graph(
    title: str,
    metrics: Sequence[cloudwatch.IMetric],
    *,
    unit: str | None = None,
    alarm_at: int | None = None,
) -> cloudwatch.GraphWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(metrics),
        left_y_axis=cloudwatch.YAxisProps(min=0, label=unit, show_units=False),
        left_annotations=(
            []
            if alarm_at is None
            else [cloudwatch.HorizontalAnnotation(value=alarm_at, label="alarm")]
        ),
        width=_THIRD,
    )
