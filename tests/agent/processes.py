"""Agents as processes, and what their logs say."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.agent.scene import Scene

_ROOT = Path(__file__).parents[2]
PYTHON_PATH = os.pathsep.join((str(_ROOT / "src"), str(_ROOT)))
AGENT = (sys.executable, "-m", "tests.agent.agent_process")


class Run:
    """Starts agents; the first one's number is 0."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(
        self,
        *,
        endpoint: str | None = None,
        arguments: str = "",
        command: Sequence[str] = AGENT,
        **settings: Any,
    ) -> subprocess.Popen[bytes]:
        """Start an agent.

        Args:
            endpoint: Where its AWS is. Default: the emulated one, straight.
            arguments: Arguments of its stand-in engine. Default: none.
            command: What to run. Default: the agent with the stand-in for its engine.
            settings: Settings that differ from the scene's.
        """
        with (self._scene.directory / f"agent-{len(self.processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command,
                env={
                    **os.environ,
                    **self._scene.with_settings(**settings).to_environment(),
                    **({"AWS_ENDPOINT_URL": endpoint} if endpoint else {}),
                    **({"STAND_IN_ARGUMENTS": arguments} if arguments else {}),
                    "PYTHONPATH": PYTHON_PATH,
                },
                stderr=log,
            )
        self.processes.append(process)
        return process

    def end(self) -> None:
        """Kill what is left."""
        for process in self.processes:
            process.kill()
            process.wait()

    def begun(self) -> Counter[str]:
        """Return how often each task was begun on a GPU, by any agent."""
        return Counter(
            line.partition('"task_id": "')[2].partition('"')[0]
            for number in range(len(self.processes))
            for line in log(self._scene, number).splitlines()
            if '"started"' in line
        )


def log(scene: Scene, number: int = 0) -> str:
    """Return an agent's log."""
    return (scene.directory / f"agent-{number}.log").read_text()


def begun(scene: Scene, number: int = 0) -> Callable[[], bool]:
    """Tell whether an agent has begun a task."""
    return lambda: '"started"' in log(scene, number)


def ready(scene: Scene, number: int = 0) -> Callable[[], bool]:
    """Tell whether an agent is ready."""
    return lambda: '"ready"' in log(scene, number)
