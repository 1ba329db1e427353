"""Agents are killed at random and every call to AWS may fail: is anything lost?

    python -m benchmarks.chaos [--tasks 2000] [--agents 4] [--faults 0.05] [--seed 0]

Real agents with a stand-in for the engine, whose pictures differ each time they are drawn, so that
two results of one task can be told apart. Ends with 1 if a task is lost, has no result or has two.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

from tqdm import tqdm

from benchmarks.faults import Fault, FaultPlan, Kind
from benchmarks.proxy import Proxy
from cdk_stable_diffusion.contract import ResultMessage
from cdk_stable_diffusion.contract.environment import MOST_RETURNS
from tests.agent.emulated import emulated_aws
from tests.agent.processes import Run
from tests.agent.scene import Scene

_TRIES = 3
_KINDS = {
    Kind.ERROR: 0.3,
    Kind.THROTTLE: 0.2,
    Kind.CUT: 0.2,
    Kind.LOSE_ANSWER: 0.2,
    Kind.SLOW: 0.1,
}
"""Shares of the kinds among the faults."""

Results = dict[str, set[str]]


class Agents:
    """Agents of which one is ended now and then, and replaced."""

    def __init__(self, run: Run, count: int, endpoint: str, chance: random.Random) -> None:
        self._run = run
        self._endpoint = endpoint
        self._chance = chance
        self._alive = [self._start() for _ in range(count)]
        self.ended: Counter[str] = Counter()

    def end_one(self) -> None:
        """End one, politely or not, and start another."""
        number = self._chance.randrange(len(self._alive))
        kind = self._chance.choice((signal.SIGKILL, signal.SIGTERM))
        self._alive[number].send_signal(kind)
        self.ended[kind.name] += 1
        self._alive[number] = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return self._run(
            endpoint=self._endpoint, lease_seconds=10, drain_seconds=3, max_receive_count=_TRIES
        )


def main() -> int:
    """Cause chaos, then count.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--faults", type=float, default=0.05)
    parser.add_argument("--seconds-between-ends", type=float, default=10.0)
    parser.add_argument("--longest-seconds", type=float, default=3_600.0)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    plan = FaultPlan(_faults(arguments.faults), seed=arguments.seed)
    with (
        emulated_aws() as aws,
        Proxy(aws.port, plan=plan) as proxy,
        tempfile.TemporaryDirectory() as directory,
    ):
        os.environ.update(aws.environment)
        scene = Scene(aws, Path(directory))
        _limit_receives(scene)
        scene.publish_model()
        tasks = {scene.send(prompt="random 0.1").task_id for _ in range(arguments.tasks)}
        run = Run(scene)
        try:
            agents = Agents(run, arguments.agents, proxy.url, chance)
            results = _collect(scene, tasks, agents, chance, arguments)
        finally:
            run.end()
        return _judge(scene, tasks, results, run, agents, plan)


def _faults(share: float) -> list[Fault]:
    # Each is asked only about calls that those before it let through.
    faults, left = [], 1.0
    for kind, part in _KINDS.items():
        faults.append(Fault(operation="*", kind=kind, rate=share * part / left))
        left -= share * part
    return faults


def _limit_receives(scene: Scene) -> None:
    """Give the queue the limit that a runtime's queue has."""
    answer = scene.sqs.get_queue_attributes(
        QueueUrl=scene.dead_letters, AttributeNames=["QueueArn"]
    )
    policy = {
        "deadLetterTargetArn": answer["Attributes"]["QueueArn"],
        "maxReceiveCount": _TRIES + 1 + MOST_RETURNS,
    }
    scene.sqs.set_queue_attributes(
        QueueUrl=scene.queue, Attributes={"RedrivePolicy": json.dumps(policy)}
    )


def _collect(
    scene: Scene,
    tasks: set[str],
    agents: Agents,
    chance: random.Random,
    arguments: argparse.Namespace,
) -> Results:
    results: Results = defaultdict(set)
    began = time.monotonic()
    between = arguments.seconds_between_ends
    next_end = began + chance.uniform(0.5, 1.5) * between
    with tqdm(total=len(tasks), unit="task", mininterval=1) as bar:
        while scene.left() != (0, 0) or len(results) < len(tasks):
            for result in scene.more_results():
                results[result.task_id].add(result.to_json())
            bar.update(len(results) - bar.n)
            now = time.monotonic()
            if now > next_end:
                agents.end_one()
                next_end = now + chance.uniform(0.5, 1.5) * between
            if now - began > arguments.longest_seconds:
                break
            time.sleep(0.05)
    return results


def _judge(
    scene: Scene, tasks: set[str], results: Results, run: Run, agents: Agents, plan: FaultPlan
) -> int:
    texts = [text for found in results.values() for text in found]
    wrong_pictures = failed = 0
    for result in map(ResultMessage.from_json, texts):
        failed += result.status == "failed"
        wrong_pictures += any(
            hashlib.sha256(scene.read(image.key)).hexdigest() != image.sha256
            for image in result.images
        )
    begun = run.begun()
    figures = {
        "tasks": len(tasks),
        "without a result": len(tasks - set(results)),
        "with two results": sum(len(found) > 1 for found in results.values()),
        "with pictures that are not the result's": wrong_pictures,
        "failed": failed,
        "GPU work done again": sum(begun.values()) - len(begun),
        "agents ended": dict(agents.ended),
        "faults": sum(plan.met.values()),
        "calls": sum(plan.calls.values()),
    }
    for name, value in figures.items():
        print(f"{name:>40}  {value}")
    bad = ("without a result", "with two results", "with pictures that are not the result's")
    return int(any(figures[name] for name in bad))


if __name__ == "__main__":
    sys.exit(main())
