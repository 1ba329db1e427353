"""The alarms: what a person must look at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .._acknowledge import acknowledge
from .lanes import oldest_ages, watchable

if TYPE_CHECKING:
    from ..api import SdApi
    from ..runtime import SdRuntime

NODE_START_SECONDS = 600
"""Time allowed for a node to be launched and to have image and model, on a bad day."""


def oldest_message_seconds(runtime: SdRuntime) -> int:
    """Return the age that a task in a runtime's queue should not reach.

    It is the time for a node to start (10 minutes) + the latency that the runtime scales for + its
    longest task, since a task that is being drawn is still in the queue.

    Args:
        runtime: The runtime.
    """
    return (
        NODE_START_SECONDS
        + int(runtime.scaling.target_latency_seconds)
        + runtime.timing.longest_task_seconds
    )


class Alarms:
    """Makes alarms that all have the same actions.

    An alarm is on one metric, or on the largest of several queues': no other metric math, so that
    whoever reads it sees what it means.
    """

    def __init__(self, actions: Sequence[cloudwatch.IAlarmAction]) -> None:
        """Take the actions.

        Args:
            actions: What every alarm does.
        """
        self._actions = tuple(actions)
        self.made: list[cloudwatch.Alarm] = []

    def dead_letters(
        self, scope: Construct, id: str, *, queue: sqs.IQueue, description: str
    ) -> cloudwatch.Alarm:
        """Alarm at the first message in a dead-letter queue.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            queue: The dead-letter queue.
            description: What it means and what to do.
        """
        return self._alarm(
            scope,
            id,
            metric=queue.metric_approximate_number_of_messages_visible(
                period=Duration.minutes(1), statistic="Maximum"
            ),
            threshold=1,
            periods=1,
            description=description,
        )

    def oldest_message(
        self, scope: Construct, id: str, *, runtime: SdRuntime, seconds: int
    ) -> tuple[cloudwatch.Alarm, ...]:
        """Alarm when a runtime's tasks wait too long.

        Args:
            scope: Parent construct.
            id: Identifier in the parent; the second alarm's has a 2 behind it, and so on.
            runtime: The runtime.
            seconds: Age that tasks should not reach.

        Returns:
            An alarm for every ten queues.
        """
        return tuple(
            self._alarm(
                scope,
                id if number == 1 else f"{id}{number}",
                metric=metric,
                threshold=seconds,
                periods=3,
                description=(
                    f"A task of the runtime {runtime.name} is {seconds} s old. Look whether its "
                    "pods run, whether nodes for them start (spot capacity, quota, GPU limit), and "
                    "whether max_replicas is enough."
                ),
            )
            for number, metric in enumerate(watchable(oldest_ages(runtime), label="age"), start=1)
        )

    def server_errors(
        self, scope: Construct, id: str, *, api: SdApi, count: int
    ) -> cloudwatch.Alarm:
        """Alarm when the API answers 5xx.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            api: The API.
            count: How many such answers in five minutes are too many.
        """
        return self._alarm(
            scope,
            id,
            metric=api.metric_server_error(period=Duration.minutes(5), statistic="Sum"),
            threshold=count,
            periods=1,
            description=(
                f"The API answered {count} or more requests with 5xx in five minutes: tasks were "
                "not taken. Look at the logs of its function."
            ),
        )

    def _alarm(
        self,
        scope: Construct,
        id: str,
        *,
        metric: cloudwatch.IMetric,
        threshold: int,
        periods: int,
        description: str,
    ) -> cloudwatch.Alarm:
        alarm = cloudwatch.Alarm(
            scope,
            id,
            metric=metric,
            threshold=threshold,
            comparison_operator=(cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD),
            evaluation_periods=periods,
            treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
            alarm_description=description,
        )
        if self._actions:
            alarm.add_alarm_action(*self._actions)
        else:
            acknowledge(
                alarm,
                {
                    "NIST.800.53.R5-CloudWatchAlarmAction": (
                        "Nobody was named to be told. CloudWatch sends every change of an alarm's "
                        "state to EventBridge, where an account can watch all of its alarms; "
                        "SdObservability(alarm_actions=[...]) tells someone of these."
                    )
                },
            )
        self.made.append(alarm)
        return alarm
