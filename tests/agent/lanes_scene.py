"""A scene whose runtime has several lanes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cdk_stable_diffusion.contract import TaskMessage
from cdk_stable_diffusion.contract.lanes import lane_of
from tests.agent.scene import FILES, MODEL, Aws, Scene


class LanesScene(Scene):
    """One test's part of the emulated AWS, with a queue for each lane."""

    def __init__(self, aws: Aws, directory: Path, lanes: int) -> None:
        super().__init__(aws, directory)
        name = self.queue.rpartition("/")[2]
        self.lanes = (
            self.queue,
            *(
                self.sqs.create_queue(QueueName=f"{name}-{lane}")["QueueUrl"]
                for lane in range(1, lanes)
            ),
        )
        self.overflow = self.sqs.create_queue(QueueName=f"{name}-overflow")["QueueUrl"]
        self.environment = self.with_settings(
            lane_queue_urls=self.lanes,
            overflow_queue_url=self.overflow,
            members_directory=str(directory / "replicas"),
        )

    def publish_model(self, name: str = MODEL, files: dict[str, bytes] | None = None) -> None:
        """Put a model into the bucket, whose weights are no other's."""
        super().publish_model(name, files or {**FILES, "name.txt": name.encode()})

    def send_again(self, task: TaskMessage, **attributes: str) -> None:
        """Put a task on the queue of its lane."""
        self.sqs.send_message(
            QueueUrl=self.lanes[lane_of(task.request.model, len(self.lanes))],
            MessageBody=task.to_json(),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in {**task.attributes(), **attributes}.items()
            },
        )

    def waiting(self) -> list[tuple[int, int]]:
        """Return what is visible and what is in somebody's hand, of each lane."""
        return [self.left(queue) for queue in self.lanes]

    def models_of(self, lane: int, count: int = 1) -> list[str]:
        """Return names of models of a lane, in the order of their numbers."""
        found: list[str] = []
        number = 0
        while len(found) < count:
            if lane_of(f"model-{number}", len(self.lanes)) == lane:
                found.append(f"model-{number}")
            number += 1
        return found

    def agent(self, number: int) -> dict[str, Any]:
        """Return the settings that agents of one machine do not share."""
        return {
            "replica_name": f"replica-{number}",
            "model_cache_directory": str(self.directory / f"models-{number}"),
        }
