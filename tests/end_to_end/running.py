"""The whole service as a process of its own, as a newcomer starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import jsonschema

from cdk_stable_diffusion.contract import ResultMessage
from cdk_stable_diffusion.contract.schemas import schema
from cdk_stable_diffusion.local.aws import AwsAccess
from cdk_stable_diffusion.local.client import Client

LEASE_SECONDS = 6
RESULT_SECONDS = 60.0

_RESULT = jsonschema.Draft4Validator(schema("result-message"))


def until(condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
    """Wait until a condition holds, and return what it returned."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:g} s in vain until {what}"
        time.sleep(0.05)
    return value


def processes_of(mark: str) -> dict[int, str]:
    """Return the command lines of all living processes with a text in their environment."""
    found = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if command:  # A process that has ended has none.
                    found[int(folder.name)] = command
        except OSError:
            continue
    return found


class Up:
    """`sd-local up` as a process."""

    def __init__(
        self,
        arguments: Sequence[str],
        cache: Path,
        errors: IO[bytes],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; `details` waits until it is up."""
        self.cache = cache
        self.environment = {**os.environ, **(environment or {}), "XDG_CACHE_HOME": str(cache)}
        self.mark = f"XDG_CACHE_HOME={cache}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cdk_stable_diffusion.local.cli", "up", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env=self.environment,
            start_new_session=True,
        )
        self._errors = errors
        self._details: dict[str, Any] | None = None

    @property
    def details(self) -> dict[str, Any]:
        """The first line that it printed."""
        if self._details is None:
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            assert line, f"it ended: {self.said()}"
            self._details = json.loads(line)
        return self._details

    def said(self) -> str:
        """Return what it said on standard error."""
        return Path(self._errors.name).read_text()

    @property
    def directory(self) -> Path:
        """The folder of its assembly and of its agents' logs."""
        line = next(line for line in self.said().splitlines() if "agents, logs in" in line)
        return Path(line.rpartition(" ")[2]).parent


class Service:
    """The running service, as a client and a backend see it."""

    def __init__(self, up: Up) -> None:
        """Look at a service that is coming up."""
        self.up = up
        self.details: Mapping[str, Any] = up.details
        self.directory = up.directory
        self.client = Client.of(self.details)
        self.access: AwsAccess = self.client.access
        self._sqs = self.access.client("sqs")
        self.unclaimed: dict[str, list[ResultMessage]] = {}

    def results(
        self, task_ids: Sequence[str], seconds: float = RESULT_SECONDS
    ) -> dict[str, list[ResultMessage]]:
        """Take results from the backend's queue until every task has one."""
        deadline = time.monotonic() + seconds
        while missing := [each for each in task_ids if each not in self.unclaimed]:
            assert time.monotonic() < deadline, f"no result of {missing}"
            self.take_results(wait_seconds=1)
        return {each: self.unclaimed.pop(each) for each in task_ids}

    def take_results(self, *, wait_seconds: int) -> list[ResultMessage]:
        """Take what is in the backend's queue; every message must be as its schema says."""
        answer = self._sqs.receive_message(
            QueueUrl=self.details["result_queue_url"],
            MaxNumberOfMessages=10,
            WaitTimeSeconds=wait_seconds,
        )
        results = []
        for message in answer.get("Messages", ()):
            _RESULT.validate(json.loads(message["Body"]))
            result = ResultMessage.from_json(message["Body"])
            self.unclaimed.setdefault(result.task_id, []).append(result)
            self._sqs.delete_message(
                QueueUrl=self.details["result_queue_url"],
                ReceiptHandle=message["ReceiptHandle"],
            )
            results.append(result)
        return results

    def forget_results(self) -> None:
        """Empty the backend's queue of what other tests have left."""
        while self.take_results(wait_seconds=0):
            pass
        self.unclaimed.clear()

    def messages(self) -> dict[str, int]:
        """Return how many messages are in each queue, visible or not."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        counts = {}
        for url in self._sqs.list_queues()["QueueUrls"]:
            values = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)
            counts[url.rpartition("/")[2]] = sum(map(int, values["Attributes"].values()))
        return counts

    def log(self, runtime: str) -> list[dict[str, Any]]:
        """Return what the agents of a runtime have logged."""
        entries = []
        for file in sorted((self.directory / "logs").glob(f"{runtime}-[0-9]*.log")):
            for line in file.read_text().splitlines():
                try:
                    entries.append(json.loads(line))
                except ValueError:
                    continue  # A line that is being written, or of a library.
        return entries

    def picture(self, result: ResultMessage) -> bytes:
        """Return a result's first picture."""
        image = result.images[0]
        answer = self.access.client("s3").get_object(Bucket=image.bucket, Key=image.key)
        body: bytes = answer["Body"].read()
        return body


def end(up: Up) -> None:
    """End a service whatever state it is in."""
    up.process.terminate()
    try:
        up.process.wait(20)
    except subprocess.TimeoutExpired:
        up.process.kill()
        up.process.wait()
    assert up.process.stdout is not None
    up.process.stdout.close()
