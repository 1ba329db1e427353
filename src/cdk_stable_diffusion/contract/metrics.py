"""Names of the CloudWatch metrics that the service writes and its constructs show."""

from __future__ import annotations

METRIC_NAMESPACE = "CdkStableDiffusion"

FUNCTION_DIMENSION = "Function"
"""Name of the API's Lambda function, which tells two APIs of an account apart."""

STATUS_DIMENSION = "Status"
"""HTTP status of a refusal."""

TASKS_ACCEPTED = "TasksAccepted"
TASKS_REFUSED = "TasksRefused"
PUBLISH_FAILURES = "PublishFailures"
