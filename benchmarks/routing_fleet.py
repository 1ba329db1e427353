"""Real agents with stand-ins for their engines, their queues, and what came of the tasks."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.proxy import Proxy
from cdk_stable_diffusion.contract import ResultMessage, TaskMessage, parse_timestamp
from cdk_stable_diffusion.contract.lanes import lane_of_task
from cdk_stable_diffusion.contract.metrics import TASKS_STOLEN
from tests.agent.processes import Run, log, ready
from tests.agent.scene import Aws, Scene, wait_until

_FILES = {"model_index.json": b"{}", "unet/weights.safetensors": b"weights" * 100}
MODEL_BYTES = sum(map(len, _FILES.values()))
_AT_ONCE = 10
_LONGEST_SILENCE_SECONDS = 60.0
_SENDERS = 8
_POLL_SECONDS = 2.0
"""How long an agent waits at a lane at most in its first seconds."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """What a replica has, and how fast it is.

    Attributes:
        picture_seconds: How long it draws for a task.
        disk_seconds: How long it takes to load a model from the disk.
        memory_seconds: How long it takes to load one from memory.
        in_memory: How many models it keeps in memory, besides the one on the GPU.
        on_disk: How many models it keeps on its disk.
    """

    picture_seconds: float = 0.2
    disk_seconds: float = 2.0
    memory_seconds: float = 0.3
    in_memory: int = 0
    on_disk: int = 2


@dataclass(kw_only=True, slots=True)
class Done:
    """What came of one task.

    Attributes:
        model: Index of its model.
        lane: Its lane.
        sent: When it was sent, in seconds from the first one.
        begun: When an agent began it.
        done: When its result was published.
        loading: How long its model was loaded.
    """

    model: int
    lane: int
    sent: float
    begun: float
    done: float
    loading: float

    @property
    def waiting(self) -> float:
        """From its sending until the GPU drew."""
        return self.begun - self.sent + self.loading

    @property
    def latency(self) -> float:
        """From its sending until its result."""
        return self.done - self.sent


@dataclass(kw_only=True)
class Outcome:
    """What came of a run. Times are in seconds.

    Attributes:
        tasks: The tasks.
        loads: When a model was loaded, and from where.
        downloads: When one was downloaded.
        steals: How many tasks were taken from lanes that are not the replica's own.
        calls: Calls to AWS, by operation.
        busy_percent: How much of the time the GPUs drew.
        cpu_ms_per_task: Processor time of all agents and stand-ins for a task.
        start: When it began.
    """

    tasks: list[Done]
    loads: list[tuple[float, str]]
    downloads: list[float]
    steals: int
    calls: Counter[str]
    busy_percent: float
    cpu_ms_per_task: float
    start: float = 0.0

    @property
    def seconds(self) -> float:
        """From the first task sent to the last one done."""
        return max(each.done for each in self.tasks)

    def since(self, share: float) -> Outcome:
        """Return what came after the caches had filled.

        Args:
            share: Of the tasks, in the order of their ends, that do not count.
        """
        tasks = sorted(self.tasks, key=lambda each: each.done)
        first = int(len(tasks) * share)
        start = tasks[first - 1].done if first else self.start
        return replace(
            self,
            tasks=tasks[first:],
            start=start,
            loads=[each for each in self.loads if each[0] >= start],
            downloads=[each for each in self.downloads if each >= start],
        )

    @property
    def tasks_per_second(self) -> float:
        """How many tasks were done in a second."""
        return len(self.tasks) / (self.seconds - self.start)

    def load_seconds(self, least: float) -> float:
        """Return how long loads took that took so long at least: with what the agent does besides.

        Args:
            least: How long the engine alone takes.
        """
        loads = [each.loading for each in self.tasks if each.loading >= least]
        return statistics.mean(loads) if loads else least

    @property
    def loads_per_1000(self) -> float:
        """How often a model was loaded for 1,000 tasks, from wherever."""
        return 1_000 * len(self.loads) / len(self.tasks)

    @property
    def downloads_per_1000(self) -> float:
        """How often a model came from S3 for 1,000 tasks."""
        return 1_000 * len(self.downloads) / len(self.tasks)

    def latency_percentile(self, percent: float) -> float:
        """Return after how long so many percent of the tasks were done."""
        return float(np.percentile([each.latency for each in self.tasks], percent))


@dataclass(kw_only=True)
class Fleet:
    """Agents of one runtime, and its queues.

    Attributes:
        aws: The emulated AWS.
        proxy: The way to it, which adds a region's round trips and counts.
        directory: For everything.
        machine: What each replica has.
        lanes: How many lanes there are; 1 for a shared queue.
        prefix: How the names of replicas begin.
        models: Names of the models.
        settings: Settings of the agents that differ from the scene's.
    """

    aws: Aws
    proxy: Proxy
    directory: Path
    machine: Machine
    lanes: int
    prefix: str
    models: Sequence[str]
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make queues, and put the models into the bucket."""
        self.scene = Scene(self.aws, self.directory)
        self.run = Run(self.scene)
        self.queues = [self.scene.queue]
        for lane in range(1, self.lanes):
            name = f"{self.scene.queue.rpartition('/')[2]}-{lane}"
            self.queues.append(self.scene.sqs.create_queue(QueueName=name)["QueueUrl"])
        name = f"{self.scene.queue.rpartition('/')[2]}-overflow"
        self.overflow = self.scene.sqs.create_queue(QueueName=name)["QueueUrl"]
        for number, name in enumerate(self.models):
            # Each has other weights, or one would stand for all.
            self.scene.publish_model(name, {**_FILES, "number": str(number).encode()})
        self._members = self.directory / "members"
        self._members.mkdir()
        self._tasks: dict[str, tuple[int, int]] = {}
        self._results: dict[str, ResultMessage] = {}
        self.twice = 0
        self.began = 0.0
        self._heard = 0.0

    def start(self, count: int) -> None:
        """Start agents, and wait until they are ready."""
        first = len(self.run.processes)
        for number in range(first, first + count):
            machine, directory = self.machine, self.directory / f"replica-{number}"
            directory.mkdir()
            lanes: dict[str, Any] = {
                "lane_queue_urls": tuple(self.queues),
                "overflow_queue_url": self.overflow,
                "members_directory": str(self._members),
                "replica_name": self.name(number),
            }
            engine = [
                *(machine.picture_seconds, machine.disk_seconds, machine.memory_seconds),
                *(machine.in_memory, directory / "trace"),
            ]
            (directory / "trace").touch()
            self.run(
                endpoint=self.proxy.url,
                command=(
                    *(sys.executable, "-m", "benchmarks.agent_process"),
                    *("benchmarks.routing_engine", *map(str, engine)),
                ),
                model_cache_directory=str(directory / "models"),
                model_cache_bytes=machine.on_disk * (MODEL_BYTES + 3),
                memory_cache_bytes=machine.in_memory * (MODEL_BYTES + 3),
                **(lanes if self.lanes > 1 else {}),
                **self.settings,
            )
        for number in range(first, first + count):
            wait_until(ready(self.scene, number), "an agent is ready")

    def wait_until_known(self) -> None:
        """Wait until all agents know of each other, as those do that have run for a while.

        And until none waits any more at a lane that turned out to be another's.
        """
        if self.lanes == 1 or len(self.run.processes) == 1:
            return
        names = {self.name(number) for number in range(len(self.run.processes))}

        def known() -> bool:
            return all(names in self.replicas(number).values() for number in range(len(names)))

        wait_until(known, "all know all")
        time.sleep(_POLL_SECONDS)

    def replicas(self, number: int) -> dict[float, set[str]]:
        """Return which replicas one has known, and since when, in seconds since 1970."""
        lines = (line for line in self.log(number).splitlines() if '"replicas"' in line)
        return {
            parse_timestamp(fields["time"]).timestamp(): set(fields["replicas"])
            for fields in map(json.loads, lines)
        }

    def name(self, number: int) -> str:
        """Return a replica's name, as the simulation calls it."""
        return f"{self.prefix}-{number + 1}"

    def log(self, number: int) -> str:
        """Return a replica's log."""
        return log(self.scene, number)

    def end(self) -> None:
        """End all agents."""
        for process in self.run.processes:
            process.send_signal(signal.SIGTERM)
        for process in self.run.processes:
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                pass
        self.run.end()

    # Tasks.

    def send(self, models: Sequence[int]) -> None:
        """Send tasks.

        Args:
            models: The model of each, by its index.
        """
        by_queue: dict[str, list[TaskMessage]] = {}
        for model in models:
            task = self.scene.task(model=self.models[model])
            lane = lane_of_task(self.models[model], task.task_id, self.lanes)
            self._tasks[task.task_id] = (model, lane)
            by_queue.setdefault(self.queues[lane], []).append(task)
        for queue, tasks in by_queue.items():
            for start in range(0, len(tasks), _AT_ONCE):
                self.scene.sqs.send_message_batch(
                    QueueUrl=queue,
                    Entries=[
                        {
                            "Id": str(number),
                            "MessageBody": task.to_json(),
                            "MessageAttributes": {
                                name: {"DataType": "String", "StringValue": value}
                                for name, value in task.attributes().items()
                            },
                        }
                        for number, task in enumerate(tasks[start : start + _AT_ONCE])
                    ],
                )

    def take_results(self, *, wait: int = 1) -> int:
        """Take the results that have come, and return how many tasks they are new of."""
        queue = self.scene.results
        messages = self.scene.sqs.receive_message(
            QueueUrl=queue, WaitTimeSeconds=wait, MaxNumberOfMessages=_AT_ONCE
        ).get("Messages", [])
        if time.monotonic() - self._heard > _LONGEST_SILENCE_SECONDS:
            raise TimeoutError(f"no result for a long time; an agent says: {self.log(0)[-2_000:]}")
        new = 0
        for message in messages:
            result = ResultMessage.from_json(message["Body"])
            assert result.status == "succeeded", result.error
            new += result.task_id not in self._results
            self.twice += result.task_id in self._results
            self._results[result.task_id] = result
        if messages:
            self._heard = time.monotonic()
            self.scene.sqs.delete_message_batch(
                QueueUrl=queue,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message["ReceiptHandle"]}
                    for number, message in enumerate(messages)
                ],
            )
        return new

    def do(self, models: Sequence[int], *, at_a_time: int | None = None) -> Outcome:
        """Have tasks done that never let the queue run dry.

        Args:
            models: The model of each, by its index.
            at_a_time: How many are waiting or running. Default: all at once.
        """
        self._begin()
        sent = min(len(models), at_a_time or len(models))
        self.send(models[:sent])
        while len(self._results) < len(models):
            new = self.take_results()
            more = models[sent : sent + new]
            if len(more):
                self.send(more)
                sent += len(more)
        return self._outcome()

    def do_at(
        self,
        arrivals: Sequence[float],
        models: Sequence[int],
        *,
        meanwhile: Sequence[tuple[float, Callable[[], None]]] = (),
    ) -> Outcome:
        """Have tasks done that come at given times.

        Args:
            arrivals: When each comes, in seconds.
            models: The model of each, by its index.
            meanwhile: What else happens, and when. Default: nothing.
        """
        self._begin()
        sender = threading.Thread(target=self._send_at, args=(arrivals, models), daemon=True)
        sender.start()
        left = list(meanwhile)
        while len(self._results) < len(models) or left:
            self.take_results()
            if left and time.time() - self.began > left[0][0]:
                left.pop(0)[1]()
            assert sender.is_alive() or len(self._tasks) == len(models), "nobody sends any more"
        return self._outcome()

    def _send_at(self, arrivals: Sequence[float], models: Sequence[int]) -> None:
        began = time.monotonic()
        # One call takes longer than it may be until the next task comes.
        with ThreadPoolExecutor(_SENDERS) as senders:
            sent = []
            for arrival, model in zip(arrivals, models, strict=True):
                time.sleep(max(0.0, began + arrival - time.monotonic()))
                sent.append(senders.submit(self.send, [model]))
            for each in sent:
                each.result()

    def _begin(self) -> None:
        self._calls = Counter(self.proxy.plan.calls)
        self._cpu = self._cpu_seconds()
        self._heard = time.monotonic()
        self.began = time.time()
        self._began = time.monotonic()

    def _outcome(self) -> Outcome:
        tasks, drawn, loads = [], 0.0, list[tuple[float, str]]()
        for task_id, result in self._results.items():
            timings, (model, lane) = result.timings, self._tasks[task_id]
            tasks.append(
                Done(
                    model=model,
                    lane=lane,
                    sent=self._since(timings.submitted_at),
                    begun=self._since(timings.started_at),
                    done=self._since(timings.finished_at),
                    loading=timings.loading_seconds,
                )
            )
        for number in range(len(self.run.processes)):
            for line in (self.directory / f"replica-{number}" / "trace").read_text().splitlines():
                what, tier, begin, end = line.split()
                if what == "load":
                    loads.append((float(begin) - self._began, tier))
                else:
                    drawn += float(end) - float(begin)
        lines = [
            line
            for number in range(len(self.run.processes))
            for line in self.log(number).splitlines()
        ]
        seconds = max(each.done for each in tasks) * len(self.run.processes)
        return Outcome(
            tasks=tasks,
            loads=loads,
            downloads=[
                self._since(json.loads(line)["time"]) for line in lines if '"downloaded"' in line
            ],
            steals=sum(
                json.loads(line)[TASKS_STOLEN] for line in lines if f'"{TASKS_STOLEN}":' in line
            ),
            calls=Counter(self.proxy.plan.calls) - self._calls,
            busy_percent=100 * drawn / seconds,
            cpu_ms_per_task=1_000 * (self._cpu_seconds() - self._cpu) / len(tasks),
        )

    def _since(self, moment: str) -> float:
        return parse_timestamp(moment).timestamp() - self.began

    def _cpu_seconds(self) -> float:
        total = 0
        for process in self.run.processes:
            if process.poll() is None:
                stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
                total += int(stat[11]) + int(stat[12])
        return total / _TICKS
