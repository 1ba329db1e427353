"""The API's log groups, under a key of one's own if one is given."""

from __future__ import annotations

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from .._acknowledge import acknowledge


def make_log_group(
    scope: Construct, id: str, *, retention: logs.RetentionDays, key: kms.IKey | None
) -> logs.LogGroup:
    """Make a log group that goes with its stack.

    Args:
        scope: Where.
        id: Its id.
        retention: How long its logs are kept.
        key: Key of one's own, or None for the key of CloudWatch Logs.
    """
    log_group = logs.LogGroup(
        scope, id, retention=retention, encryption_key=key, removal_policy=RemovalPolicy.DESTROY
    )
    if key is None:
        acknowledge(
            log_group,
            {
                "NIST.800.53.R5-CloudWatchLogGroupEncrypted": (
                    "CloudWatch Logs encrypts it with a key of its own, and neither prompts nor "
                    "API keys are logged. SdApi(log_encryption_key=...) takes a key of yours."
                )
            },
        )
    else:
        _let_logs_use(key, scope)
    return log_group


def _let_logs_use(key: kms.IKey, scope: Construct) -> None:
    """Let CloudWatch Logs use a key for log groups of this account; not if it is imported."""
    stack = Stack.of(scope)
    key.add_to_resource_policy(
        iam.PolicyStatement(
            sid="EncryptLogs",
            principals=[iam.ServicePrincipal(f"logs.{stack.region}.amazonaws.com")],
            actions=[
                "kms:Encrypt",
                "kms:Decrypt",
                "kms:ReEncryptFrom",
                "kms:ReEncryptTo",
                "kms:GenerateDataKey",
                "kms:GenerateDataKeyWithoutPlaintext",
                "kms:DescribeKey",
            ],
            resources=["*"],
            conditions={
                "ArnLike": {
                    # Not the log group's own name, which the key would then have to wait for.
                    "kms:EncryptionContext:aws:logs:arn": stack.format_arn(
                        service="logs",
                        resource="log-group",
                        resource_name="*",
                        arn_format=ArnFormat.COLON_RESOURCE_NAME,
                    )
                }
            },
        )
    )
