"""Names of the CloudWatch metrics that the service writes and its constructs show."""

from __future__ import annotations

from collections.abc import Mapping

from .tiers import DISK, GPU, MEMORY, S3

METRIC_NAMESPACE = "CdkStableDiffusion"

FUNCTION_DIMENSION = "Function"
"""Name of the API's Lambda function, which tells two APIs of an account apart."""

STATUS_DIMENSION = "Status"
"""HTTP status of a refusal."""

TASKS_ACCEPTED = "TasksAccepted"
TASKS_REFUSED = "TasksRefused"
PUBLISH_FAILURES = "PublishFailures"

RUNTIME_DIMENSION = "Runtime"
"""Name of the runtime whose agent writes."""

QUEUE_DIMENSION = "Queue"
"""Name of its queue, or of its first lane, which tells two runtimes of one name apart."""

MODEL_LOADS = "ModelLoads"
"""Tasks whose model was not on the GPU."""

TASKS_STOLEN = "TasksStolen"
"""Tasks of a lane whose home is another replica: stolen from there, or passed on by that one."""

MODEL_HITS: Mapping[str, str] = {
    GPU: "ModelHitsGpu",
    MEMORY: "ModelHitsMemory",
    DISK: "ModelHitsDisk",
    S3: "ModelHitsS3",
}
"""Tasks by the nearest place that had their model: the name of the metric for each."""


def runtime_dimensions(runtime_name: str, queue_name: str) -> dict[str, str]:
    """Return the dimensions of what an agent writes.

    Args:
        runtime_name: Name of its runtime.
        queue_name: Name of the runtime's queue, or of its first lane; may be a token.
    """
    return {RUNTIME_DIMENSION: runtime_name, QUEUE_DIMENSION: queue_name}
