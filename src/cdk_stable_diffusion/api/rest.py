"""The REST API in front of the function: paths, key, throttling, logs."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import Names
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from .._acknowledge import acknowledge
from ..contract.schemas import schema
from ..contract.template import API_KEY, REST_API, STAGE
from .gateway_responses import add_gateway_responses
from .log_groups import make_log_group
from .marks import mark
from .throttle import Quota, Throttle

ACCESS_LOG_FIELDS = {
    "time": "$context.requestTimeEpoch",
    "request_id": "$context.requestId",
    "trace_id": "$context.xrayTraceId",
    "method": "$context.httpMethod",
    "resource": "$context.resourcePath",
    "status": "$context.status",
    # The key's id, which names the caller; the key itself is never logged.
    "api_key_id": "$context.identity.apiKeyId",
    "refusal": "$context.error.responseType",
    "integration_status": "$context.integration.status",
    "integration_milliseconds": "$context.integration.latency",
    "milliseconds": "$context.responseLatency",
    "bytes": "$context.responseLength",
}


class RestFront(Construct):
    """The REST API with its stage, key and usage plan."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        function: lambda_.Function,
        throttle: Throttle,
        quota: Quota | None,
        stage_name: str,
        log_retention: logs.RetentionDays,
        log_key: kms.IKey | None,
        account_log_role: bool,
    ) -> None:
        """Make the API.

        Args:
            scope: Where.
            id: Its id.
            function: What answers.
            throttle: How fast a key may send requests.
            quota: How many requests a key may send in all, or None for no limit.
            stage_name: Name of the stage: the first part of every path.
            log_retention: How long access logs are kept.
            log_key: Key of access logs, or None for the key of CloudWatch Logs.
            account_log_role: Whether to give API Gateway the role that it needs for logs.
        """
        super().__init__(scope, id)
        self.access_log_group = make_log_group(
            self, "AccessLogs", retention=log_retention, key=log_key
        )
        self.rest_api = apigateway.RestApi(
            self,
            "Api",
            # CloudWatch tells APIs apart by name only, so that two must not share one.
            rest_api_name=Names.unique_resource_name(self, separator="-", max_length=128),
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=account_log_role,
            deploy_options=apigateway.StageOptions(
                stage_name=stage_name,
                tracing_enabled=True,
                access_log_destination=apigateway.LogGroupLogDestination(self.access_log_group),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(ACCESS_LOG_FIELDS)),
                # Errors only and without data: prompts and keys have no place in logs.
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,
            ),
        )
        # A library leaves outputs to the app; this one comes with every RestApi.
        self.rest_api.node.try_remove_child("Endpoint")
        self.stage = self.rest_api.deployment_stage
        self._add_tasks(function)
        add_gateway_responses(self.rest_api)
        self.api_key = apigateway.ApiKey(self, "Key")
        self.usage_plan = apigateway.UsagePlan(
            self,
            "UsagePlan",
            throttle=apigateway.ThrottleSettings(
                rate_limit=throttle.rate_per_second, burst_limit=throttle.burst
            ),
            quota=None if quota is None else _quota_settings(quota),
            api_stages=[apigateway.UsagePlanPerApiStage(api=self.rest_api, stage=self.stage)],
        )
        self.usage_plan.add_api_key(self.api_key)
        mark(self.rest_api, REST_API)
        mark(self.stage, STAGE)
        mark(self.api_key, API_KEY)
        self._acknowledge()

    def _add_tasks(self, function: lambda_.Function) -> None:
        integration = apigateway.LambdaIntegration(function, allow_test_invoke=False)
        validator = self.rest_api.add_request_validator(
            "Validator", validate_request_body=True, validate_request_parameters=True
        )
        tasks = self.rest_api.root.add_resource("v1").add_resource("tasks")
        tasks.add_method(
            "POST",
            integration,
            api_key_required=True,
            operation_name="SubmitTask",
            request_models={"application/json": self._request_model()},
            request_validator=validator,
        )
        task = tasks.add_resource("{task_id}")
        for method, operation_name in (("GET", "DescribeTask"), ("DELETE", "CancelTask")):
            task.add_method(
                method,
                integration,
                api_key_required=True,
                operation_name=operation_name,
                # What may stand there is for the function to say, which names the faults.
                request_parameters={
                    "method.request.path.task_id": True,
                    "method.request.querystring.output_prefix": False,
                },
                request_validator=validator,
            )
        for resource in (tasks, task):
            # The function says 405 and which method to use; API Gateway would say 403.
            resource.add_method("ANY", integration, api_key_required=True)

    def _request_model(self) -> apigateway.IModel:
        """Make the model of a request.

        It describes the whole request, but any object passes: API Gateway's validator says neither
        in which field a fault is nor what is allowed there, so the function names the faults, all
        of them. What is not an object at all is refused before it costs an invocation.
        """
        document = request_model_schema()
        model = apigateway.CfnModel(
            self,
            "TaskRequest",
            rest_api_id=self.rest_api.rest_api_id,
            content_type="application/json",
            description="Body of POST /v1/tasks",
            schema=document,
        )
        if deployment := self.rest_api.latest_deployment:
            deployment.node.add_dependency(model)
            deployment.add_to_logical_id(document)
        return apigateway.Model.from_model_name(self, "TaskRequestByName", model.ref)

    def _acknowledge(self) -> None:
        acknowledge(
            self.rest_api,
            {
                "AwsSolutions-APIG4": (
                    "Backends sign in with an API key of a usage plan, which every method demands."
                ),
                "AwsSolutions-COG4": "Callers are backends with keys, not people with accounts.",
                "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/"
                "AmazonAPIGatewayPushToCloudWatchLogs]": (
                    "The policy that AWS asks for in the account-wide role by which API Gateway "
                    "writes logs."
                ),
            },
        )
        firewall = (
            "Only holders of an API key get in, throttled each; a firewall is the account's to "
            "choose and can be attached to the stage."
        )
        acknowledge(
            self.stage,
            {
                "AwsSolutions-APIG3": firewall,
                "NIST.800.53.R5-APIGWAssociatedWithWAF": firewall,
                "NIST.800.53.R5-APIGWCacheEnabledAndEncrypted": (
                    "No answer can be cached: a task comes by POST, and what GET says of it is "
                    "another thing a moment later."
                ),
                "NIST.800.53.R5-APIGWSSLEnabled": (
                    "A client certificate shows an HTTP backend who calls. This backend is a "
                    "Lambda function: API Gateway invokes it with signed requests over TLS, and "
                    "its policy lets no other API do so."
                ),
            },
        )


def request_model_schema() -> dict[str, Any]:
    """Return the schema of the request model: a task request, or failing that any object."""
    request = schema("task-request")
    draft = request.pop("$schema")
    described = _without_null_choices(request)
    return {"$schema": draft, "title": "TaskRequest", "anyOf": [described, {"type": "object"}]}


def _without_null_choices(value: Any) -> Any:
    """Leave out the nulls in lists: CloudFormation refuses a template that holds any."""
    if isinstance(value, dict):
        return {key: _without_null_choices(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_without_null_choices(each) for each in value if each is not None]
    return value


def _quota_settings(quota: Quota) -> apigateway.QuotaSettings:
    return apigateway.QuotaSettings(
        limit=quota.requests, period=apigateway.Period[quota.period.upper()]
    )
