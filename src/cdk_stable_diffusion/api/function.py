"""The Lambda function behind the API, with a role of its own that may do nothing else."""

from __future__ import annotations

from aws_cdk import Duration
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from .._acknowledge import acknowledge, acknowledge_own_policy, acknowledge_wildcards
from ..contract.environment import HandlerEnvironment
from ..contract.keys import CANCEL_NAME, MODELS_PREFIX, PROGRESS_NAME, RESULT_NAME
from ..contract.template import HANDLER as HANDLER_MARK
from .asset import HANDLER, handler_code
from .log_groups import make_log_group
from .marks import mark

TIMEOUT = Duration.seconds(28)
"""Just inside the 29 s that API Gateway waits, so that an answer always gets through."""

MEMORY_MEGABYTES = 512
"""Far more than it needs: processor time comes with memory, and the cold start is all processor."""

READ_OF_TASKS = (RESULT_NAME, PROGRESS_NAME, CANCEL_NAME)


class HandlerFunction(Construct):
    """The function, its role and its log group."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        request_topic: sns.Topic,
        output_bucket: s3.IBucket,
        model_bucket: s3.IBucket,
        routes: str,
        key: kms.IKey | None,
        log_retention: logs.RetentionDays,
        log_key: kms.IKey | None,
    ) -> None:
        """Make the function.

        Args:
            scope: Where.
            id: Its id.
            request_topic: Topic for accepted tasks.
            output_bucket: Bucket in which it reads how tasks are and leaves wishes to cancel them.
            model_bucket: Bucket in which it looks for models.
            routes: The routes as JSON; may be a token.
            key: Key of the topic if it has one of its own, or None.
            log_retention: How long its logs are kept.
            log_key: Key of its logs, or None for the key of CloudWatch Logs.
        """
        super().__init__(scope, id)
        self.log_group = make_log_group(self, "Logs", retention=log_retention, key=log_key)
        self.role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.function = lambda_.Function(
            self,
            "Function",
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            code=handler_code(self),
            handler=HANDLER,
            role=self.role,
            memory_size=MEMORY_MEGABYTES,
            timeout=TIMEOUT,
            tracing=lambda_.Tracing.ACTIVE,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            environment=HandlerEnvironment(
                request_topic_arn=request_topic.topic_arn,
                output_bucket=output_bucket.bucket_name,
                model_bucket=model_bucket.bucket_name,
                routes=routes,
            ).to_environment(),
        )
        mark(self.function, HANDLER_MARK)
        self.log_group.grant_write(self.role)
        self._allow_to_publish(request_topic, key)
        self._allow_to_find_models(model_bucket)
        self._allow_to_look_after_tasks(output_bucket)
        self._acknowledge()

    def _allow_to_publish(self, topic: sns.Topic, key: kms.IKey | None) -> None:
        self.role.add_to_principal_policy(
            iam.PolicyStatement(actions=["sns:Publish"], resources=[topic.topic_arn])
        )
        if key is not None:
            self._allow_to_use(key)

    def _allow_to_find_models(self, bucket: s3.IBucket) -> None:
        """Allow to see which models there are, but not to read them."""
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["s3:ListBucket"],
                resources=[bucket.bucket_arn],
                conditions={"StringLike": {"s3:prefix": f"{MODELS_PREFIX}*"}},
            )
        )

    def _allow_to_look_after_tasks(self, bucket: s3.IBucket) -> None:
        """Allow to read what is known of tasks and to leave wishes, but not to see a picture."""
        readable = [bucket.arn_for_objects(f"*/{name}") for name in READ_OF_TASKS]
        writable = bucket.arn_for_objects(f"*/{CANCEL_NAME}")
        self.role.add_to_principal_policy(
            iam.PolicyStatement(actions=["s3:GetObject"], resources=readable)
        )
        self.role.add_to_principal_policy(
            iam.PolicyStatement(actions=["s3:PutObject"], resources=[writable])
        )
        if (key := bucket.encryption_key) is not None:
            self._allow_to_use(key)
        acknowledge_wildcards(
            self.role,
            resources=readable,
            reason="A request says in which folder its task's own folder shall lie, and the task "
            "gets a new id: only the last part of the names is known before.",
        )

    def _allow_to_use(self, key: kms.IKey) -> None:
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["kms:GenerateDataKey", "kms:Decrypt"], resources=[key.key_arn]
            )
        )

    def _acknowledge(self) -> None:
        acknowledge_own_policy(self.role)
        acknowledge(
            self.role,
            {
                "AwsSolutions-IAM5[Resource::*]": (
                    "xray:PutTraceSegments and xray:PutTelemetryRecords have no resources to name."
                )
            },
        )
        acknowledge(
            self.function,
            {
                "NIST.800.53.R5-LambdaConcurrency": (
                    "The usage plan limits what each API key may send. A reservation would come "
                    "out of what all functions of the account share, which a new account has none "
                    "to spare of; it can be set on SdApi.handler."
                ),
                "NIST.800.53.R5-LambdaDLQ": (
                    "API Gateway invokes the function and waits, so that the caller hears of a "
                    "failure. Lambda uses dead-letter queues for asynchronous invocations only."
                ),
                "NIST.800.53.R5-LambdaInsideVPC": (
                    "The function calls AWS services over TLS, and nothing that is in a VPC. Its "
                    "role lets it publish to one topic, list the models in one bucket, read and "
                    "write what is known of tasks in another, and write its logs and traces."
                ),
            },
        )
