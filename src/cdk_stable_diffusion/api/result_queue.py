"""A backend's queue on the result topic."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .._validation import A_DURATION, A_WHOLE_NUMBER, Faults, is_token, shown
from ..contract.names import RUNTIME_NAME_SAYS, is_runtime_name
from ..contract.result import STATUSES
from ..contract.template import RESULT_QUEUE
from .marks import mark

RETENTION = Duration.days(14)
"""As long as SQS can: a backend that is down over a holiday loses nothing."""


class ResultQueue(Construct):
    """A queue that receives results, and the queue for those that could not be handled.

    Made by `SdApi.add_result_queue`. A message is a result document (`ResultMessage`) as it is,
    without an envelope. Results may arrive twice and in any order.

    Attributes:
        queue: Where results arrive.
        dead_letter_queue: Where a result goes that was received too often without being deleted.
        runtime: The only runtime whose results arrive, or None for all.
        status: The only status that arrives, or None for all.
    """

    queue: sqs.Queue
    dead_letter_queue: sqs.Queue
    runtime: str | None
    status: str | None

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        topic: sns.ITopic,
        runtime: str | None,
        status: str | None,
        visibility_timeout: Duration,
        max_receive_count: int,
    ) -> None:
        """Make the queues and subscribe.

        Args:
            scope: Where.
            id: Its id.
            topic: The result topic.
            runtime: Take only this runtime's results, or None.
            status: Take only results with this status, or None.
            visibility_timeout: How long the backend has for one result.
            max_receive_count: How often a result is delivered before it is put aside.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        faults = Faults()
        if faults.check_type("runtime", runtime, str, "the name of a runtime", optional=True):
            faults.check(
                is_token(runtime) or is_runtime_name(str(runtime)),
                f"runtime is {runtime!r}: must be {RUNTIME_NAME_SAYS}",
            )
        faults.check(
            status is None or status in STATUSES,
            f"status is {shown(status)}: one of {', '.join(STATUSES)}",
        )
        if faults.check_type(
            "max_receive_count", max_receive_count, int, A_WHOLE_NUMBER, tokens=True
        ):
            faults.check(
                1 <= max_receive_count <= 1_000,
                f"max_receive_count is {max_receive_count}: 1 to 1000",
            )
        if (
            faults.check_type("visibility_timeout", visibility_timeout, Duration, A_DURATION)
            and not visibility_timeout.is_unresolved()
        ):
            seconds = visibility_timeout.to_seconds()
            faults.check(
                seconds <= 43_200, f"visibility_timeout is {seconds} seconds: at most 43200"
            )
        faults.raise_if_any(f"result queue {scope.node.path}/{id}")
        super().__init__(scope, id)
        self.runtime = runtime
        self.status = status
        self.dead_letter_queue = sqs.Queue(
            self,
            "DeadLetters",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=RETENTION,
        )
        self.queue = sqs.Queue(
            self,
            "Queue",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            retention_period=RETENTION,
            visibility_timeout=visibility_timeout,
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letter_queue, max_receive_count=max_receive_count
            ),
        )
        mark(self.queue, RESULT_QUEUE)
        wanted = {"runtime": runtime, "status": status}
        topic.add_subscription(
            subscriptions.SqsSubscription(
                self.queue,
                raw_message_delivery=True,
                filter_policy={
                    name: sns.SubscriptionFilter.string_filter(allowlist=[value])
                    for name, value in wanted.items()
                    if value is not None
                }
                or None,
            )
        )
