"""SdObservability: a dashboard and alarms for everything behind an API."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IConstruct

from .._acknowledge import acknowledge
from .._validation import A_WHOLE_NUMBER, Faults, shown
from ..api import ResultQueue, SdApi
from ..contract.routing import DYNAMIC
from ..runtime import SdRuntime
from ..runtime.seconds import check_seconds, whole_seconds
from .alarms import Alarms, oldest_message_seconds
from .widgets import (
    api_widgets,
    flow_widgets,
    heading,
    model_widgets,
    result_queue_widgets,
    runtime_widgets,
)


class SdObservability(Construct):
    """A dashboard and alarms for an API, its runtimes and its result queues.

    Runtimes and result queues may be added before it or after it. A runtime in another stack, while
    this is in the stack of its API or of its cluster, gets its alarms and a dashboard in its own
    stack: the two stacks would need each other otherwise.

    The alarms: a runtime's or a result queue's dead-letter queue is not empty; a task waits too
    long, one alarm for every ten queues; the API answers 5xx.

    Example:
        >>> SdObservability(  # doctest: +SKIP
        ...     stack, "Observability", api=api, alarm_actions=[SnsAction(on_call)]
        ... )

    Attributes:
        dashboard: The dashboard.
        failed_results: Queue that nobody reads. SNS counts messages, but not by attribute; the
            messages that reach this queue are counted, and are gone after a minute.
    """

    dashboard: cloudwatch.Dashboard
    failed_results: sqs.Queue

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        api: SdApi,
        alarm_actions: Sequence[cloudwatch.IAlarmAction] = (),
        oldest_message_age: Duration | None = None,
        server_error_count: int = 1,
    ) -> None:
        """Make the dashboard and the alarms.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            api: The API.
            alarm_actions: What every alarm does. Default: nothing but change its state.
            oldest_message_age: Age of a task that sets off an alarm, at least a minute. Default:
                10 minutes for a node to start + the runtime's target latency + its longest task.
            server_error_count: How many answers 5xx in five minutes set off an alarm, at least 1.
                Default: 1.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        faults = Faults()
        faults.check_type("api", api, SdApi, "an SdApi")
        if faults.check_type("alarm_actions", alarm_actions, (list, tuple), "a list of actions"):
            for action in alarm_actions:
                faults.check(
                    hasattr(action, "bind"),
                    f"alarm_actions names {shown(action)}: an action, such as SnsAction(topic)",
                )
        check_seconds(faults, "oldest_message_age", oldest_message_age, least=60)
        if faults.check_type("server_error_count", server_error_count, int, A_WHOLE_NUMBER):
            faults.check(
                server_error_count >= 1, f"server_error_count is {server_error_count}: at least 1"
            )
        faults.raise_if_any(f"SdObservability {scope.node.path}/{id}")
        super().__init__(scope, id)
        self._api = api
        self._alarms = Alarms(alarm_actions)
        self._oldest_seconds = whole_seconds(oldest_message_age, default=0)
        self.failed_results = self._count_failed_results()
        self.dashboard = cloudwatch.Dashboard(self, "Dashboard")
        self.dashboard.add_widgets(heading("API"))
        self.dashboard.add_widgets(*api_widgets(api))
        self.dashboard.add_widgets(*flow_widgets(api, failed_results=self.failed_results))
        self._alarms.server_errors(self, "ServerErrors", api=api, count=server_error_count)
        api.routes.follow(self._watch)

    @property
    def alarms(self) -> tuple[cloudwatch.Alarm, ...]:
        """Every alarm so far."""
        return tuple(self._alarms.made)

    def _watch(self, construct: IConstruct) -> None:
        if isinstance(construct, SdRuntime):
            self._watch_runtime(construct)
        elif isinstance(construct, ResultQueue):
            self._watch_result_queue(construct)

    def _watch_runtime(self, runtime: SdRuntime) -> None:
        oldest_seconds = self._oldest_seconds or oldest_message_seconds(runtime)
        home = self._home(runtime)
        dashboard = self.dashboard
        if home is not self:
            dashboard = cloudwatch.Dashboard(home, "Dashboard")
        watched = Construct(home, f"Runtime-{runtime.name}")
        dashboard.add_widgets(heading(f"Runtime {runtime.name}"))
        dashboard.add_widgets(*runtime_widgets(runtime, oldest_seconds=oldest_seconds))
        if runtime.model.runtime_class == DYNAMIC:
            dashboard.add_widgets(*model_widgets(runtime))
        self._alarms.dead_letters(
            watched,
            "DeadLetters",
            queue=runtime.dead_letter_queue,
            description=(
                f"Tasks of the runtime {runtime.name} failed time after time. Their messages are "
                "in its dead-letter queue for 14 days. The attribute error_code says why an agent "
                "gave one up: invalid-message was no task, all others have a failed result. Those "
                "without it ended with their pods and have no result. Once the cause is gone, "
                f"redrive them to the queue {runtime.queue.queue_name}: name it, since SQS does "
                "not know the source of what an agent put there."
            ),
        )
        self._alarms.oldest_message(
            watched, "OldestMessage", runtime=runtime, seconds=oldest_seconds
        )

    def _watch_result_queue(self, results: ResultQueue) -> None:
        name = results.node.id
        watched = Construct(self, f"ResultQueue-{name}")
        self.dashboard.add_widgets(heading(f"Result queue {name}"))
        self.dashboard.add_widgets(*result_queue_widgets(name, results))
        self._alarms.dead_letters(
            watched,
            "DeadLetters",
            queue=results.dead_letter_queue,
            description=(
                f"The backend failed time after time to take a result from the queue {name}. The "
                "pictures are in the bucket; redrive the queue once the backend is well."
            ),
        )

    def _home(self, runtime: SdRuntime) -> Construct:
        """Return where a runtime's alarms can be without making two stacks need each other."""
        mine, theirs, api, cluster = (
            Stack.of(construct).node.addr
            for construct in (self, runtime, self._api, runtime.cluster)
        )
        if mine == theirs or mine not in (api, cluster):
            return self
        return Construct(runtime, self.node.id)

    def _count_failed_results(self) -> sqs.Queue:
        queue = sqs.Queue(
            self,
            "FailedResults",
            retention_period=Duration.minutes(1),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        acknowledge(
            queue,
            {
                "AwsSolutions-SQS3": "Nobody receives these messages, so that none can fail: the "
                "queue only counts them."
            },
        )
        self._api.result_topic.add_subscription(
            subscriptions.SqsSubscription(
                queue,
                raw_message_delivery=True,
                filter_policy={
                    "status": sns.SubscriptionFilter.string_filter(allowlist=["failed"])
                },
            )
        )
        return queue
