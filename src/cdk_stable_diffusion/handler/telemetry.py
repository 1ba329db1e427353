"""One line of JSON for each request: a log entry that CloudWatch also reads metrics from.

What clients send never gets into a line: no headers, no keys, no prompts. Names of models do, once
they have been checked.
"""

from __future__ import annotations

import json
import logging
import os
import time
import traceback
from collections.abc import Mapping
from typing import Any

from ..contract import metrics
from ..contract.accepted import TaskAccepted
from .refusal import Refusal


class JsonLines(logging.Formatter):
    """Writes log records as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record."""
        entry: dict[str, Any] = {
            "level": record.levelname,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            kind, _error, trace = record.exc_info
            # Where, not what: an error's own words may quote what a client sent.
            entry["error"] = kind.__name__ if kind else ""
            entry["frames"] = [
                f"{os.path.basename(frame.filename)}:{frame.lineno} {frame.name}"
                for frame in traceback.extract_tb(trace)
            ]
        return json.dumps(entry, ensure_ascii=False)


class _Output(logging.Handler):
    """Standard output, one line a record."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)


def configure() -> logging.Logger:
    """Return the function's logger, which writes JSON to standard output."""
    logger = logging.getLogger(__package__)
    if not logger.handlers:
        output = _Output()
        output.setFormatter(JsonLines())
        logger.addHandler(output)
        logger.setLevel(logging.INFO)
        # Lambda's own handler would write every record a second time.
        logger.propagate = False
    return logger


class Telemetry:
    """Writes what became of one request."""

    def __init__(self, logger: logging.Logger, request_id: str) -> None:
        """Start the clock.

        Args:
            logger: The function's logger.
            request_id: Id of the request.
        """
        self._logger = logger
        self._request_id = request_id
        self._started = time.perf_counter()
        self._about_a_task = False

    def accepted(self, task: TaskAccepted) -> None:
        """A task is on its way."""
        self._write(
            logging.INFO,
            "task accepted",
            202,
            [metrics.TASKS_ACCEPTED],
            task_id=task.task_id,
            model=task.model,
            runtime=task.runtime,
            runtime_class=task.runtime_class,
        )

    def is_about_a_task(self) -> None:
        """The request brings no task but is about one, so it counts in no metric of tasks."""
        self._about_a_task = True

    def told(self, status: int, document: Mapping[str, Any]) -> None:
        """A client was told how a task is, or that it will be cancelled."""
        self._write(
            logging.INFO,
            "told of a task",
            status,
            [],
            task_id=document["task_id"],
            task_status=document["status"],
        )

    def refused(self, refusal: Refusal) -> None:
        """A request was refused."""
        if self._about_a_task:
            level = logging.ERROR if refusal.status >= 500 else logging.INFO
            cause = str(refusal.__cause__ or "")
            self._write(level, "not told of a task", refusal.status, [], cause=cause)
            return
        names = [metrics.TASKS_REFUSED]
        fields: dict[str, Any] = {"faults": len(refusal.faults)}
        level = logging.INFO
        if refusal.status >= 500:
            level = logging.ERROR
            names.append(metrics.PUBLISH_FAILURES)
            fields["cause"] = str(refusal.__cause__ or "")
        self._write(level, "task refused", refusal.status, names, **fields)

    def failed(self) -> None:
        """Something happened that nobody thought of; call it while it is handled."""
        names = [] if self._about_a_task else [metrics.TASKS_REFUSED]
        self._write(logging.ERROR, "unexpected error", 500, names, trace=True)

    def _write(
        self,
        level: int,
        message: str,
        status: int,
        names: list[str],
        *,
        trace: bool = False,
        **fields: Any,
    ) -> None:
        entry = {
            "request_id": self._request_id,
            "status": status,
            "duration_milliseconds": round((time.perf_counter() - self._started) * 1000, 1),
            **fields,
            **(_embedded_metrics(names, status) if names else {}),
        }
        self._logger.log(level, message, extra={"fields": entry}, exc_info=trace)


def _embedded_metrics(names: list[str], status: int) -> dict[str, Any]:
    """Return the fields of CloudWatch's embedded metric format."""
    function, by_status = [metrics.FUNCTION_DIMENSION], metrics.STATUS_DIMENSION
    return {
        "_aws": {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": metrics.METRIC_NAMESPACE,
                    "Dimensions": [function, [*function, by_status]]
                    if name == metrics.TASKS_REFUSED
                    else [function],
                    "Metrics": [{"Name": name, "Unit": "Count"}],
                }
                for name in names
            ],
        },
        metrics.FUNCTION_DIMENSION: os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "local"),
        by_status: str(status),
        **dict.fromkeys(names, 1),
    }
