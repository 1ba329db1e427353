"""What an agent needs around it: queues, topic, buckets, a model, and somebody who sends tasks."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3

from cdk_stable_diffusion.contract import (
    AgentEnvironment,
    GenerationDefaults,
    ModelFile,
    ModelManifest,
    ResultMessage,
    TaskMessage,
    TaskRequest,
    new_task_id,
    timestamp,
)
from cdk_stable_diffusion.contract.keys import cancel_key, model_manifest_key, model_prefix
from cdk_stable_diffusion.runtime_image.agent.aws import Clients, make_clients

MODEL = "shapes"
FILES = {"model_index.json": b"{}", "unet/weights.safetensors": b"weights" * 1000}


@dataclass(frozen=True)
class Aws:
    """Where the emulated AWS is: environment variables and, in them, the port."""

    environment: dict[str, str]
    port: int


def make_manifest(name: str = MODEL, files: dict[str, bytes] | None = None) -> ModelManifest:
    """Make the manifest of files."""
    return ModelManifest(
        name=name,
        files=tuple(
            ModelFile(path, len(data), hashlib.sha256(data).hexdigest())
            for path, data in sorted((files or FILES).items())
        ),
        defaults=GenerationDefaults(steps=8, guidance_scale=3.0, width=64, height=64),
    )


class Scene:
    """One test's part of the emulated AWS."""

    def __init__(self, aws: Aws, directory: Path) -> None:
        self.aws = aws
        self.directory = directory
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.sqs: Any = boto3.client("sqs")
        self.s3: Any = boto3.client("s3")
        self.sns: Any = boto3.client("sns")
        self.queue, self.dead_letters, self.results = (
            self.sqs.create_queue(QueueName=f"{name}-{each}")["QueueUrl"]
            for each in ("tasks", "dead", "results")
        )
        self.topic = self.sns.create_topic(Name=name)["TopicArn"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.results, AttributeNames=["QueueArn"])
        self.sns.subscribe(
            TopicArn=self.topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        self.output_bucket, self.model_bucket = f"{name}-output", f"{name}-models"
        self.s3.create_bucket(Bucket=self.output_bucket)
        self.s3.create_bucket(Bucket=self.model_bucket)
        self.environment = AgentEnvironment(
            queue_url=self.queue,
            dead_letter_queue_url=self.dead_letters,
            result_topic_arn=self.topic,
            output_bucket=self.output_bucket,
            model_bucket=self.model_bucket,
            runtime_name="shapes-runtime",
            runtime_class="dynamic",
            models=(),
            lease_seconds=20,
            task_timeout_seconds=30,
            drain_seconds=10,
            max_receive_count=2,
            model_cache_directory=str(directory / "models"),
            model_cache_bytes=10_000_000,
            health_port=0,
        )

    def clients(self) -> Clients:
        """Return clients as the agent makes them."""
        return make_clients(self.topic)

    def with_settings(self, **changes: Any) -> AgentEnvironment:
        """Return the agent's settings, changed."""
        return replace(self.environment, **changes)

    def publish_model(self, name: str = MODEL, files: dict[str, bytes] | None = None) -> None:
        """Put a model into the bucket."""
        files = files or FILES
        for path, data in files.items():
            self.s3.put_object(Bucket=self.model_bucket, Key=model_prefix(name) + path, Body=data)
        self.s3.put_object(
            Bucket=self.model_bucket,
            Key=model_manifest_key(name),
            Body=make_manifest(name, files).to_json(),
        )

    def publish_directory(self, name: str, directory: Path) -> None:
        """Put a pipeline's directory into the bucket."""
        manifest = ModelManifest.of_directory(directory, name)
        for file in manifest.files:
            self.s3.put_object(
                Bucket=self.model_bucket,
                Key=model_prefix(name) + file.path,
                Body=(directory / file.path).read_bytes(),
            )
        self.s3.put_object(
            Bucket=self.model_bucket, Key=model_manifest_key(name), Body=manifest.to_json()
        )

    def task(self, **request: Any) -> TaskMessage:
        """Make a task."""
        checked = TaskRequest.parse({"model": MODEL, "prompt": "a red circle", **request})
        return TaskMessage(
            task_id=new_task_id(checked, "caller"),
            submitted_at=timestamp(),
            runtime="shapes-runtime",
            runtime_class="dynamic",
            request=checked,
        )

    def send(self, **request: Any) -> TaskMessage:
        """Make a task and put it on the queue as the request topic would."""
        task = self.task(**request)
        self.send_again(task)
        return task

    def send_again(self, task: TaskMessage, **attributes: str) -> None:
        """Put a task on the queue."""
        self.sqs.send_message(
            QueueUrl=self.queue,
            MessageBody=task.to_json(),
            MessageAttributes={
                name: {"DataType": "String", "StringValue": value}
                for name, value in {**task.attributes(), **attributes}.items()
            },
        )

    def send_text(self, text: str) -> None:
        """Put any text on the queue."""
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=text)

    def cancel(self, task: TaskMessage) -> None:
        """Ask for a task's cancellation as the API does."""
        key = cancel_key(task.request.output_prefix, task.task_id)
        self.s3.put_object(Bucket=self.output_bucket, Key=key, Body=b"{}")

    def wait_for_results(self, count: int, *, seconds: float = 20.0) -> list[ResultMessage]:
        """Take results from the result queue until there are that many."""
        results: list[ResultMessage] = []
        deadline = time.monotonic() + seconds
        while len(results) < count:
            left = deadline - time.monotonic()
            assert left > 0, f"{len(results)} of {count} results after {seconds} s: {results}"
            for message in self._take(self.results, wait=min(5, max(1, int(left)))):
                results.append(ResultMessage.from_json(message["Body"]))
        return results

    def wait_for_dead_letter(self, *, seconds: float = 20.0) -> dict[str, Any]:
        """Take one message from the dead letters, where there is but one."""
        return self.wait_for_dead_letters(1, seconds=seconds)[0]

    def wait_for_dead_letters(self, count: int, *, seconds: float = 20.0) -> list[dict[str, Any]]:
        """Take messages from the dead letters until there are that many."""
        letters: list[dict[str, Any]] = []
        deadline = time.monotonic() + seconds
        while len(letters) < count:
            assert time.monotonic() < deadline, f"{len(letters)} of {count} dead letters came"
            letters += self._take(self.dead_letters, wait=2)
        return letters

    def more_results(self) -> list[ResultMessage]:
        """Take what is on the result queue now."""
        found = self._take(self.results, wait=0)
        return [ResultMessage.from_json(message["Body"]) for message in found]

    def left(self, queue: str | None = None) -> tuple[int, int]:
        """Return how many messages are visible and how many are in somebody's hand."""
        answer = self.sqs.get_queue_attributes(QueueUrl=queue or self.queue, AttributeNames=["All"])
        attributes = answer["Attributes"]
        return (
            int(attributes["ApproximateNumberOfMessages"]),
            int(attributes["ApproximateNumberOfMessagesNotVisible"]),
        )

    def keys(self) -> list[str]:
        """Return the keys in the output bucket."""
        found = self.s3.list_objects_v2(Bucket=self.output_bucket).get("Contents", [])
        return [each["Key"] for each in found]

    def read(self, key: str) -> bytes:
        """Return an object of the output bucket."""
        data: bytes = self.s3.get_object(Bucket=self.output_bucket, Key=key)["Body"].read()
        return data

    def stored_result(self, task: TaskMessage) -> dict[str, Any]:
        """Return a task's result as it is stored."""
        stored: dict[str, Any] = json.loads(self.read(f"{task.task_id}/result.json"))
        return stored

    def _take(self, queue: str, *, wait: int) -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = self.sqs.receive_message(
            QueueUrl=queue,
            WaitTimeSeconds=wait,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
        ).get("Messages", [])
        for message in messages:
            self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return messages


def wait_until(condition: Callable[[], bool], what: str, *, seconds: float = 20.0) -> None:
    """Wait for a condition that will become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)
