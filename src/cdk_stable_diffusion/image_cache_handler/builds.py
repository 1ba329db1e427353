"""The builds: executions of the state machine."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_MAX_CAUSE_CHARACTERS = 2_000
"""CloudFormation takes 4096 bytes of reason."""


class BuildFailed(Exception):
    """A build that ended without a snapshot."""


@dataclass(frozen=True, slots=True)
class Builds:
    """The builds of one cache.

    Attributes:
        client: A Step Functions client.
        state_machine_arn: The state machine.
    """

    client: Any
    state_machine_arn: str

    def start(self, name: str, work: dict[str, Any]) -> str:
        """Start a build, or find the one that was started under the same name.

        Args:
            name: Its name.
            work: Its input.

        Returns:
            The execution.
        """
        try:
            answer = self.client.start_execution(
                stateMachineArn=self.state_machine_arn, name=name, input=json.dumps(work)
            )
        except self.client.exceptions.ExecutionAlreadyExists:
            machine = self.state_machine_arn.replace(":stateMachine:", ":execution:")
            return f"{machine}:{name}"
        return str(answer["executionArn"])

    def result(self, execution_arn: str) -> str | None:
        """Return the snapshot of a build, or None while it runs.

        Args:
            execution_arn: The build.

        Raises:
            BuildFailed: If it ended otherwise, with what it said.
        """
        execution = self.client.describe_execution(executionArn=execution_arn)
        if execution["status"] == "RUNNING":
            return None
        if execution["status"] == "SUCCEEDED":
            return str(json.loads(execution["output"])["SnapshotId"])
        said = ": ".join(
            filter(None, (execution["status"], execution.get("error"), execution.get("cause")))
        )
        raise BuildFailed(
            f"no snapshot of the images was made. {said[:_MAX_CAUSE_CHARACTERS]}\n"
            f"Execution: {execution_arn}"
        )

    def stop(self) -> bool:
        """Stop every build that runs.

        Returns:
            Whether there was one.
        """
        pages = self.client.get_paginator("list_executions").paginate(
            stateMachineArn=self.state_machine_arn, statusFilter="RUNNING"
        )
        running = [each["executionArn"] for page in pages for each in page["executions"]]
        for execution_arn in running:
            self.client.stop_execution(executionArn=execution_arn, cause="The cache is deleted.")
        return bool(running)
