"""SdApi: the way in for prompts and the way out for results."""

from __future__ import annotations

import re

import jsii
from aws_cdk import Annotations, Duration, RemovalPolicy, Stack
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct, IValidation

from .._validation import A_DURATION, Faults, is_token
from ..contract import metrics
from ..contract.template import REQUEST_TOPIC, RESULT_TOPIC
from .buckets import make_model_bucket, make_output_bucket
from .function import HandlerFunction
from .grants import ApiGrants
from .rest import RestFront
from .result_queue import ResultQueue
from .routes import RouteRegistry
from .throttle import Quota, Throttle
from .topics import make_topic
from .update_order import UpdateOrder

MAX_ROUTES_BYTES = 3_500
"""Longest route table: a function's variables may have 4 KB in all."""

_STAGE_NAME_SAYS = "1 to 128 letters, digits and _, known at synthesis"
_KEY_HINT = "a key, such as a kms.Key or kms.Key.from_key_arn(...)"

NO_RUNTIME_WARNING = "cdk-stable-diffusion:api-without-runtime"
NO_SPREAD_WARNING = "cdk-stable-diffusion:spread-of-static-models"


class SdApi(Construct):
    """A REST API that takes image tasks, and the topics and buckets around it.

    ``POST /v1/tasks`` checks a task and puts it on the request topic; the runtimes that are added
    to the API take it from there, store pictures in the output bucket and publish the result.
    ``GET`` on a task tells how far it is, ``DELETE`` cancels it.

    Example:
        >>> api = SdApi(stack, "Api", output_lifecycle=Duration.days(30))  # doctest: +SKIP
        >>> results = api.add_result_queue("Results")  # doctest: +SKIP
        >>> results.queue.grant_consume_messages(backend)  # doctest: +SKIP
        >>> api.grants.read_outputs(backend)  # doctest: +SKIP

    Attributes:
        rest_api: The REST API.
        stage: Its stage.
        api_key: The first API key; more can be added to `usage_plan`.
        usage_plan: Throttle and quota of the keys.
        endpoint: URL of the stage, without a slash at its end: ``{endpoint}/v1/tasks``.
        handler: The Lambda function.
        request_topic: Topic with accepted tasks.
        result_topic: Topic with results.
        output_bucket: Bucket for pictures.
        model_bucket: Bucket for models: ``models/<name>/``.
        access_log_group: Log group with one line for each request.
        handler_log_group: Log group of the function.
        routes: The runtimes of the API.
        update_order: What is updated before what, so that no task is lost; runtimes join it.
        grants: What others may be allowed to do.
    """

    rest_api: apigateway.RestApi
    stage: apigateway.Stage
    api_key: apigateway.ApiKey
    usage_plan: apigateway.UsagePlan
    endpoint: str
    handler: lambda_.Function
    request_topic: sns.Topic
    result_topic: sns.Topic
    output_bucket: s3.IBucket
    model_bucket: s3.IBucket
    access_log_group: logs.LogGroup
    handler_log_group: logs.LogGroup
    routes: RouteRegistry
    update_order: UpdateOrder
    grants: ApiGrants

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        output_bucket: s3.IBucket | None = None,
        model_bucket: s3.IBucket | None = None,
        output_lifecycle: Duration | None = None,
        encryption_key: kms.IKey | None = None,
        throttle: Throttle | None = None,
        quota: Quota | None = None,
        stage_name: str = "prod",
        log_retention: logs.RetentionDays = logs.RetentionDays.ONE_MONTH,
        log_encryption_key: kms.IKey | None = None,
        account_log_role: bool = True,
        removal_policy: RemovalPolicy = RemovalPolicy.RETAIN,
    ) -> None:
        """Make the API.

        Args:
            scope: Where.
            id: Its id.
            output_bucket: Your own bucket for pictures. It stays tidy with a lifecycle rule that
                deletes what is older than 15 days under ``.returned/``. Default: one is made,
                encrypted, for TLS only, with public access blocked.
            model_bucket: Your own bucket for models. Default: one is made, likewise, which keeps
                old versions for 30 days.
            output_lifecycle: Whole days after which pictures and results are deleted from the
                bucket that is made. Default: never.
            encryption_key: Your own KMS key for both topics and for the buckets that are made. Its
                key policy must let the account's IAM policies decide, as CDK's keys do. Default:
                the AWS managed key for SNS, and keys that S3 manages.
            throttle: How fast each API key may send requests. Default: 50 a second, bursts of 100.
            quota: How many requests each API key may send in all. Default: no limit.
            stage_name: Name of the stage, the first part of every path. Default: "prod".
            log_retention: How long access logs and the function's logs are kept. Default: a month.
            log_encryption_key: Your own KMS key for these logs. A key that the app makes is told
                to let CloudWatch Logs use it; the policy of an imported one must do so already.
                Default: the key of CloudWatch Logs.
            account_log_role: Whether to give API Gateway the role by which it writes logs. It is
                one setting for the whole account and region and stays when the stack goes; turn it
                off where the account is set up already. Default: True.
            removal_policy: What becomes of the buckets that are made when they leave the stack.
                Default: they are retained.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        faults = Faults()
        for name, bucket in (("output_bucket", output_bucket), ("model_bucket", model_bucket)):
            faults.check_has(
                name, bucket, "bucket_arn", "a bucket, such as an s3.Bucket", optional=True
            )
        for name, key in (
            ("encryption_key", encryption_key),
            ("log_encryption_key", log_encryption_key),
        ):
            faults.check_has(name, key, "key_arn", _KEY_HINT, optional=True)
        faults.check_type(
            "throttle", throttle, Throttle, "a Throttle, such as Throttle(burst=9)", optional=True
        )
        faults.check_type(
            "quota", quota, Quota, "a Quota, such as Quota(requests=1000)", optional=True
        )
        faults.check_type(
            "log_retention",
            log_retention,
            logs.RetentionDays,
            "a RetentionDays, such as RetentionDays.ONE_WEEK",
        )
        faults.check_type("account_log_role", account_log_role, bool, "True or False")
        faults.check_type(
            "removal_policy",
            removal_policy,
            RemovalPolicy,
            "a RemovalPolicy, such as RemovalPolicy.DESTROY",
        )
        if faults.check_type("stage_name", stage_name, str, _STAGE_NAME_SAYS):
            faults.check(
                not is_token(stage_name)
                and re.fullmatch(r"[A-Za-z0-9_]{1,128}", stage_name) is not None,
                f"stage_name is {stage_name!r}: {_STAGE_NAME_SAYS}",
            )
        faults.check(
            output_lifecycle is None or output_bucket is None,
            "output_lifecycle is given with output_bucket, which has a lifecycle of its own",
        )
        if faults.check_type(
            "output_lifecycle", output_lifecycle, Duration, A_DURATION, optional=True
        ):
            assert output_lifecycle is not None
            faults.check(
                output_lifecycle.is_unresolved() or _is_whole_days(output_lifecycle),
                f"output_lifecycle is {output_lifecycle.to_human_string()}: whole days, at least 1",
            )
        faults.raise_if_any(f"SdApi {scope.node.path}/{id}")
        super().__init__(scope, id)
        self.routes = RouteRegistry()
        self._result_queues: list[ResultQueue] = []
        self.request_topic = make_topic(
            self, "RequestTopic", kind=REQUEST_TOPIC, key=encryption_key
        )
        self.result_topic = make_topic(self, "ResultTopic", kind=RESULT_TOPIC, key=encryption_key)
        self.output_bucket = output_bucket or make_output_bucket(
            self,
            "OutputBucket",
            expiration=output_lifecycle,
            key=encryption_key,
            removal_policy=removal_policy,
        )
        self.model_bucket = model_bucket or make_model_bucket(
            self, "ModelBucket", key=encryption_key, removal_policy=removal_policy
        )
        handler = HandlerFunction(
            self,
            "Handler",
            request_topic=self.request_topic,
            output_bucket=self.output_bucket,
            model_bucket=self.model_bucket,
            routes=self.routes.lazy_json(),
            key=encryption_key,
            log_retention=log_retention,
            log_key=log_encryption_key,
        )
        self.handler = handler.function
        self.handler_log_group = handler.log_group
        self.update_order = UpdateOrder(self.handler)
        front = RestFront(
            self,
            "Rest",
            function=self.handler,
            throttle=throttle or Throttle(),
            quota=quota,
            stage_name=stage_name,
            log_retention=log_retention,
            log_key=log_encryption_key,
            account_log_role=account_log_role,
        )
        self.rest_api = front.rest_api
        self.stage = front.stage
        self.api_key = front.api_key
        self.usage_plan = front.usage_plan
        self.access_log_group = front.access_log_group
        stack = Stack.of(self)
        self.endpoint = (
            f"https://{self.rest_api.rest_api_id}.execute-api.{stack.region}.{stack.url_suffix}"
            f"/{self.stage.stage_name}"
        )
        self.grants = ApiGrants(output_bucket=self.output_bucket, model_bucket=self.model_bucket)
        self.node.add_validation(_Validation(self))

    @property
    def result_queues(self) -> tuple[ResultQueue, ...]:
        """The queues that `add_result_queue` made so far."""
        return tuple(self._result_queues)

    def add_result_queue(
        self,
        id: str,
        *,
        runtime: str | None = None,
        status: str | None = None,
        visibility_timeout: Duration | None = None,
        max_receive_count: int = 5,
    ) -> ResultQueue:
        """Add a backend's queue on the result topic, with a dead-letter queue.

        Args:
            id: Its id in the API.
            runtime: Name of the only runtime whose results shall arrive. Default: all.
            status: The only status that shall arrive, "succeeded", "failed" or
                "cancelled". Default: all.
            visibility_timeout: How long the backend has to handle a result before it is delivered
                again. Default: a minute.
            max_receive_count: How often a result is delivered before it goes to the dead-letter
                queue. Default: 5.

        Returns:
            The queue and its dead-letter queue.

        Raises:
            ValueError: Naming everything that is wrong.
        """
        result_queue = ResultQueue(
            self,
            id,
            topic=self.result_topic,
            runtime=runtime,
            status=status,
            visibility_timeout=visibility_timeout or Duration.minutes(1),
            max_receive_count=max_receive_count,
        )
        self._result_queues.append(result_queue)
        self.routes.announce(result_queue)
        return result_queue

    def metric_count(
        self, *, period: Duration | None = None, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        """Requests that reached the stage.

        Not the tasks: refused requests count, and so do those to paths that do not exist.

        Args:
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made. Default: "Sum".
        """
        return self.stage.metric_count(period=period, statistic=statistic)

    def metric_client_error(
        self, *, period: Duration | None = None, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        """Answers 4xx: wrong, unknown or throttled requests.

        They do not mean that the service is ill, but that a client is, or that a model is missing.

        Args:
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made; "Average" is the share of all requests. Default: "Sum".
        """
        return self.stage.metric_client_error(period=period, statistic=statistic)

    def metric_server_error(
        self, *, period: Duration | None = None, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        """Answers 5xx: tasks that were not accepted through no fault of the client's.

        Tasks that fail later, in a runtime, are not among them: these are results.

        Args:
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made; "Average" is the share of all requests. Default: "Sum".
        """
        return self.stage.metric_server_error(period=period, statistic=statistic)

    def metric_latency(
        self, *, period: Duration | None = None, statistic: str = "p99"
    ) -> cloudwatch.Metric:
        """Milliseconds from request to answer.

        It is the time to accept a task. How long the picture takes stands in the result's timings.

        Args:
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made. Default: "p99".
        """
        return self.stage.metric_latency(period=period, statistic=statistic)

    def metric_tasks_accepted(
        self, *, period: Duration | None = None, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        """Tasks that were answered with 202 and are on the request topic.

        Not the tasks that were done; and one sent twice with an idempotency key counts twice.

        Args:
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made. Default: "Sum".
        """
        return self._own_metric(metrics.TASKS_ACCEPTED, period, statistic)

    def metric_tasks_refused(
        self,
        *,
        status: int | None = None,
        period: Duration | None = None,
        statistic: str = "Sum",
    ) -> cloudwatch.Metric:
        """Requests that the function did not accept, for whatever reason.

        What API Gateway refuses by itself (no key, throttled, not an object) is not among them.

        Args:
            status: Only those answered with this HTTP status. Default: all.
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made. Default: "Sum".
        """
        return self._own_metric(metrics.TASKS_REFUSED, period, statistic, status)

    def metric_publish_failures(
        self, *, period: Duration | None = None, statistic: str = "Sum"
    ) -> cloudwatch.Metric:
        """Tasks that were good but could not be put on the request topic: answers 503.

        Failed deliveries from the topic to a queue are not among them: those SNS tries again.

        Args:
            period: Length of one point. Default: 5 minutes.
            statistic: How points are made. Default: "Sum".
        """
        return self._own_metric(metrics.PUBLISH_FAILURES, period, statistic)

    def _own_metric(
        self, name: str, period: Duration | None, statistic: str, status: int | None = None
    ) -> cloudwatch.Metric:
        dimensions = {metrics.FUNCTION_DIMENSION: self.handler.function_name}
        if status is not None:
            dimensions[metrics.STATUS_DIMENSION] = str(status)
        return cloudwatch.Metric(
            namespace=metrics.METRIC_NAMESPACE,
            metric_name=name,
            dimensions_map=dimensions,
            period=period,
            statistic=statistic,
        )


def _is_whole_days(duration: Duration) -> bool:
    days = duration.to_days(integral=False)
    return days >= 1 and days == int(days)


@jsii.implements(IValidation)
class _Validation:
    """What can only be known when the app is whole."""

    def __init__(self, api: SdApi) -> None:
        self._api = api

    def validate(self) -> list[str]:
        routes = self._api.routes
        names = {each.name for each in routes.runtimes()}
        if not names:
            # Not an error: such an API is right to answer 404, and runtimes may come later.
            Annotations.of(self._api).add_warning_v2(
                NO_RUNTIME_WARNING, "the API has no runtime yet, so it refuses every task"
            )
        faults = [
            f"result queue {queue.node.id!r} waits for the runtime {queue.runtime!r}, which the "
            f"API does not have; it has {', '.join(sorted(names)) or 'none'}"
            for queue in self._api.result_queues
            if queue.runtime is not None
            and not is_token(queue.runtime)
            and queue.runtime not in names
        ]
        table = routes.table()
        if static := sorted(set(table.spread) & set(table.static)):
            Annotations.of(self._api).add_warning_v2(
                NO_SPREAD_WARNING,
                f"the spread of {', '.join(static)} has no effect: static runtimes serve these "
                "models, and have one queue each",
            )
        size = len(routes.to_json().encode())
        if size > MAX_ROUTES_BYTES:
            faults.append(
                "the runtimes name so many models, and hosts of input images, that the route table "
                f"has {size} bytes: at most {MAX_ROUTES_BYTES}; leave some models to a dynamic "
                "runtime, and name in its spread only those that are hot"
            )
        return faults
