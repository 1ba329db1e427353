"""Agents are killed at random and every call to AWS may fail: is anything lost?

    python -m benchmarks.chaos [--tasks 2000] [--agents 4] [--faults 0.05] [--output FILE]

Real agents with a stand-in for the engine, whose pictures differ each time they are drawn, so that
two results of one task can be told apart. Every few seconds one agent gets SIGKILL or SIGTERM and
is replaced, or its engine is killed. Ends with 1 if a task is lost, fails, has no result or has
two.
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
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What came of a run.

    Attributes:
        tasks: How many were sent.
        agents: How many agents ran at a time.
        gpu_seconds: GPU time of a task.
        seconds: How long the run took.
        calls: Calls to AWS.
        faults: How many of them were spoiled.
        faults_by_kind: The same by kind.
        ended: Agents by the signal that ended them, and engines that were killed.
        lost: Tasks without a result that are on no queue any more.
        without_result: Tasks without a result.
        with_two_results: Tasks with results that differ.
        with_other_pictures: Results whose pictures in the bucket are not those that they name.
        failed: Results that say that their task failed.
        dead_letters: Messages in the dead letters.
        drawn_again: GPU work beyond one run a task.
        drawn_again_percent: The same, of the tasks.
    """

    tasks: int
    agents: int
    gpu_seconds: float
    seconds: float
    calls: int
    faults: int
    faults_by_kind: dict[str, int]
    ended: dict[str, int]
    lost: int
    without_result: int
    with_two_results: int
    with_other_pictures: int
    failed: int
    dead_letters: int
    drawn_again: int
    drawn_again_percent: float

    @property
    def good(self) -> bool:
        """Whether every task has one result and its picture."""
        return not (
            self.lost
            or self.without_result
            or self.with_two_results
            or self.with_other_pictures
            or self.failed
        )


class Agents:
    """Agents of which one, or its engine, is ended now and then, and replaced."""

    def __init__(self, run: Run, count: int, endpoint: str, chance: random.Random) -> None:
        self._run = run
        self._endpoint = endpoint
        self._chance = chance
        self._alive = [self._start() for _ in range(count)]
        self.ended: Counter[str] = Counter()

    def end_one(self) -> None:
        """End one, politely or not, and start another; or kill the engine of one."""
        number = self._chance.randrange(len(self._alive))
        what = self._chance.choice(("SIGKILL", "SIGTERM", "engine"))
        process = self._alive[number]
        self.ended[what] += 1
        if what == "engine":
            for child in _children(process.pid):
                os.kill(child, signal.SIGKILL)
            return
        process.send_signal(signal.Signals[what])
        self._alive[number] = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return self._run(
            endpoint=self._endpoint, lease_seconds=10, drain_seconds=3, max_receive_count=_TRIES
        )


def _children(process_id: int) -> list[int]:
    file = Path(f"/proc/{process_id}/task/{process_id}/children")
    return list(map(int, file.read_text().split()))


def main() -> int:
    """Cause chaos, then count.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=2_000)
    parser.add_argument("--agents", type=int, default=4)
    parser.add_argument("--faults", type=float, default=0.05)
    parser.add_argument("--gpu-seconds", type=float, default=0.4)
    parser.add_argument("--seconds-between-ends", type=float, default=10.0)
    parser.add_argument("--longest-seconds", type=float, default=3_600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, help="where to write the figures as JSON")
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
        prompt = f"random {arguments.gpu_seconds}"
        tasks = {scene.send(prompt=prompt).task_id for _ in range(arguments.tasks)}
        run = Run(scene)
        try:
            agents = Agents(run, arguments.agents, proxy.url, chance)
            began = time.monotonic()
            results = _collect(scene, tasks, agents, chance, arguments)
            seconds = time.monotonic() - began
        finally:
            run.end()
        begun = run.begun()
        figures = Figures(
            tasks=len(tasks),
            agents=arguments.agents,
            gpu_seconds=arguments.gpu_seconds,
            seconds=round(seconds, 1),
            calls=sum(plan.calls.values()),
            faults=plan.total(),
            faults_by_kind=_by_kind(plan),
            ended=dict(sorted(agents.ended.items())),
            drawn_again=sum(begun.values()) - len(begun),
            drawn_again_percent=round(100 * (sum(begun.values()) / len(begun) - 1), 2),
            **_what_came(scene, tasks, results),
        )
    for name, value in asdict(figures).items():
        print(f"{name:>22}  {value}")
    if arguments.output:
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(asdict(figures), indent=2) + "\n", "utf-8")
    return int(not figures.good)


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


def _by_kind(plan: FaultPlan) -> dict[str, int]:
    kinds: Counter[str] = Counter()
    for (_operation, kind), count in plan.met.items():
        kinds[kind.value] += count
    return dict(sorted(kinds.items()))


def _what_came(scene: Scene, tasks: set[str], results: Results) -> dict[str, int]:
    wrong_pictures = failed = 0
    for result in map(ResultMessage.from_json, set().union(*results.values())):
        failed += result.status == "failed"
        wrong_pictures += any(
            hashlib.sha256(scene.read(image.key)).hexdigest() != image.sha256
            for image in result.images
        )
    without = len(tasks - set(results))
    dead_letters = sum(scene.left(scene.dead_letters))
    return {
        "lost": max(0, without - sum(scene.left()) - dead_letters),
        "without_result": without,
        "with_two_results": sum(len(found) > 1 for found in results.values()),
        "with_other_pictures": wrong_pictures,
        "failed": failed,
        "dead_letters": dead_letters,
    }


if __name__ == "__main__":
    sys.exit(main())
