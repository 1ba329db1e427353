"""Where the models of tasks were: metrics in the agent's log, for CloudWatch to find there."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from ...contract import metrics
from ...contract.tiers import GPU
from .work import Work

_LOG = logging.getLogger(__name__)


class ModelMetrics:
    """Writes CloudWatch's embedded metric format, one line for each pass."""

    def __init__(self, *, runtime_name: str, queue_url: str) -> None:
        """Set the dimensions.

        Args:
            runtime_name: Name of the runtime.
            queue_url: Its queue, or its first lane.
        """
        self._dimensions = metrics.runtime_dimensions(runtime_name, queue_url.rpartition("/")[2])

    def used(self, works: Sequence[Work], tier: str) -> None:
        """Say where the model of a pass was.

        Args:
            works: The tasks of the pass.
            tier: One of `contract.tiers.TIERS`.
        """
        values = {metrics.MODEL_HITS[tier]: len(works)}
        if tier != GPU:
            values[metrics.MODEL_LOADS] = len(works)
        if stolen := sum(work.message.stolen for work in works):
            values[metrics.TASKS_STOLEN] = stolen
        embedded = {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": metrics.METRIC_NAMESPACE,
                    "Dimensions": [list(self._dimensions)],
                    "Metrics": [{"Name": name, "Unit": "Count"} for name in values],
                }
            ],
        }
        _LOG.info("has its model", extra={"_aws": embedded, **self._dimensions, **values})
