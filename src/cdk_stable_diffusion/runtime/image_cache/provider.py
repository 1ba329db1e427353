"""The functions behind the custom resource, and the framework that calls them."""

from __future__ import annotations

from aws_cdk import ArnFormat, Duration, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_stepfunctions as sfn
from aws_cdk import custom_resources as cr
from constructs import Construct

from ..._acknowledge import acknowledge, acknowledge_own_policy, acknowledge_wildcards
from ...image_cache_handler.protocol import STATE_MACHINE_VARIABLE
from .asset import IS_COMPLETE, ON_EVENT, handler_code
from .permissions import allow_to_delete_snapshots, allow_to_terminate

_QUERY_INTERVAL = Duration.seconds(15)
_FUNCTION_TIMEOUT = Duration.minutes(2)
_MEMORY_MEGABYTES = 256

_FINDINGS = {
    "AwsSolutions-IAM5[Resource::*]": (
        "What lists and describes in EC2 can be granted on all resources only."
    ),
    "AwsSolutions-SF1": (
        "The state machine of AWS CDK's provider framework only asks one function again and again, "
        "which logs each call. For logs of its own it would be allowed to write to all log groups."
    ),
    "AwsSolutions-SF2": (
        "The state machine of AWS CDK's provider framework only asks one function again and again, "
        "and lets nobody turn tracing on. The one that builds is traced."
    ),
    "NIST.800.53.R5-LambdaConcurrency": (
        "CloudFormation calls these functions for one resource, a few times a minute while it "
        "waits. A reservation would come out of what all functions of the account share."
    ),
    "NIST.800.53.R5-LambdaDLQ": (
        "CloudFormation waits for the answer of these functions, and reports and repeats what "
        "failed. A call in a dead-letter queue would come too late for it."
    ),
    "NIST.800.53.R5-LambdaInsideVPC": (
        "The functions call AWS services over TLS, and nothing that is in a VPC."
    ),
    "NIST.800.53.R5-CloudWatchLogGroupEncrypted": (
        "CloudWatch Logs encrypts it with a key of its own. The logs name images and snapshots, "
        "and hold no secrets."
    ),
}


class CacheProvider(Construct):
    """What CloudFormation calls when the cache is made, changed or deleted.

    Attributes:
        service_token: What the custom resource names it by.
        role: Role of the two functions.
        log_group: Logs of the functions, and of the framework that calls them.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        state_machine: sfn.StateMachine,
        cache: str,
        timeout: Duration,
        log_retention: logs.RetentionDays,
    ) -> None:
        """Make it.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            state_machine: What builds.
            cache: The cache.
            timeout: How long it waits for a build.
            log_retention: How long logs are kept.
        """
        super().__init__(scope, id)
        self.log_group = logs.LogGroup(
            self, "Logs", retention=log_retention, removal_policy=RemovalPolicy.DESTROY
        )
        self.role = self._role("Role")
        self._allow(state_machine, cache)
        on_event = self._function("OnEvent", ON_EVENT, state_machine)
        is_complete = self._function("IsComplete", IS_COMPLETE, state_machine)
        self._functions = (on_event, is_complete)
        provider = cr.Provider(
            self,
            "Framework",
            on_event_handler=on_event,
            is_complete_handler=is_complete,
            query_interval=_QUERY_INTERVAL,
            total_timeout=timeout,
            log_group=self.log_group,
            framework_on_event_role=self._role("FrameworkOnEventRole"),
            framework_complete_and_timeout_role=self._role("FrameworkIsCompleteRole"),
            # It would have to be allowed to write to all log groups; what it calls has logs.
            disable_waiter_state_machine_logging=True,
        )
        self.service_token = provider.service_token
        self._acknowledge(provider)

    def _role(self, id: str) -> iam.Role:
        """Make a role that may write these logs, and nothing else yet."""
        role = iam.Role(self, id, assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        self.log_group.grant_write(role)
        acknowledge_own_policy(role)
        return role

    def _function(self, id: str, handler: str, state_machine: sfn.StateMachine) -> lambda_.Function:
        return lambda_.Function(
            self,
            id,
            runtime=lambda_.Runtime.PYTHON_3_14,
            architecture=lambda_.Architecture.ARM_64,
            code=handler_code(),
            handler=handler,
            role=self.role,
            memory_size=_MEMORY_MEGABYTES,
            timeout=_FUNCTION_TIMEOUT,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            environment={STATE_MACHINE_VARIABLE: state_machine.state_machine_arn},
        )

    def _allow(self, state_machine: sfn.StateMachine, cache: str) -> None:
        executions = Stack.of(self).format_arn(
            service="states",
            resource="execution",
            resource_name=f"{state_machine.state_machine_name}:*",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["states:ListExecutions", "states:StartExecution"],
                resources=[state_machine.state_machine_arn],
            )
        )
        self.role.add_to_principal_policy(
            iam.PolicyStatement(
                actions=["states:DescribeExecution", "states:StopExecution"],
                resources=[executions],
            )
        )
        acknowledge_wildcards(
            self.role,
            resources=[executions],
            reason="Executions of this one state machine are named after requests of "
            "CloudFormation, which nobody knows before.",
        )
        allow_to_terminate(self.role, cache=cache)
        allow_to_delete_snapshots(self.role, cache=cache)

    def _acknowledge(self, provider: cr.Provider) -> None:
        # CloudFormation calls the first function of the framework; the others call each other.
        framework = [
            child
            for child in provider.node.find_all()
            if isinstance(child, lambda_.Function) and child.node.id != "framework-onEvent"
        ]
        acknowledge_wildcards(
            self,
            resources=[f"{each.function_arn}:*" for each in (*self._functions, *framework)],
            reason="The provider framework of AWS CDK may invoke any version of the functions that "
            "it is made of, and of these two.",
        )
        acknowledge_own_policy(self)
        acknowledge(self, _FINDINGS)
