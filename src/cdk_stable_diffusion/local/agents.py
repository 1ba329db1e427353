"""Run agents as processes: started, watched, started again if they die, ended together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

AGENT_MODULE = "cdk_stable_diffusion.runtime_image.agent"

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 30.0
END_SECONDS = 5.0

_POLL_SECONDS = 0.05


class Agent:
    """One agent: a process, and its successors if it dies."""

    def __init__(
        self,
        name: str,
        runtime: str,
        environment: Mapping[str, str],
        log: Path,
        *,
        module: str = AGENT_MODULE,
    ) -> None:
        """Prepare an agent.

        Args:
            name: What it is called in messages.
            runtime: Name of its runtime.
            environment: Its whole environment.
            log: File for what it says.
            module: Python module to run. Default: the agent that runtimes run.
        """
        self.name = name
        self.runtime = runtime
        self.log = log
        self.ended_unexpectedly = False
        self._module = module
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._pause_seconds = FIRST_PAUSE_SECONDS

    @property
    def process_id(self) -> int | None:
        """Its present process, or None between two."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def tend(self, now: float, say: Callable[[str], None]) -> None:
        """Start it if it is time, or note that it has ended.

        Args:
            now: The monotonic time.
            say: Told when it has ended.
        """
        if self._process is None:
            if now >= self._start_at:
                self._start(now)
            return
        exit_code = self._process.poll()
        if exit_code is None:
            return
        self.ended_unexpectedly = True
        # Its engine, which is in the same process group, must not go on alone.
        self._signal(signal.SIGKILL)
        self._process = None
        if now - self._started_at >= STABLE_SECONDS:
            self._pause_seconds = FIRST_PAUSE_SECONDS
        say(
            f"agent {self.name} ended ({_ending(exit_code)}), starts again in "
            f"{self._pause_seconds:g} s; see {self.log}"
        )
        self._start_at = now + self._pause_seconds
        self._pause_seconds = min(2 * self._pause_seconds, LONGEST_PAUSE_SECONDS)

    def ask_to_end(self) -> None:
        """Ask it to end; it hands back what it has not begun."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until it has ended, and kill it at the deadline.

        Args:
            deadline: The monotonic time of the deadline.
        """
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            pass
        self._signal(signal.SIGKILL)
        self._process.wait()
        self._process = None

    def _start(self, now: float) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "cdk_stable_diffusion.local.child",
                    str(os.getpid()),
                    self._module,
                ],
                env=dict(self._environment),
                # "-m" looks for modules there first: not among the user's own files.
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: Ctrl-C in the terminal is for the service, which then ends
                # its agents in order.
                start_new_session=True,
            )
        self._started_at = now

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # Nobody is left in the group.


class AgentSupervisor:
    """Keeps agents running from `start` to `stop`.

    One thread starts every process, because Linux ends a child that asked for it when the thread
    that started it ends.
    """

    def __init__(self, *, say: Callable[[str], None]) -> None:
        """Prepare.

        Args:
            say: Told when an agent has died.
        """
        self.agents: tuple[Agent, ...] = ()
        self._say = say
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="agents", daemon=True)

    def start(self, agents: tuple[Agent, ...]) -> None:
        """Start agents.

        Args:
            agents: All agents.
        """
        self.agents = agents
        self._thread.start()

    def stop(self) -> None:
        """End all agents: first they are asked, and after some seconds they are killed."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.wait(_POLL_SECONDS):
                for agent in self.agents:
                    agent.tend(time.monotonic(), self._say)
        finally:
            for agent in self.agents:
                agent.ask_to_end()
            deadline = time.monotonic() + END_SECONDS
            for agent in self.agents:
                agent.end(deadline)


def _ending(exit_code: int) -> str:
    if exit_code < 0:
        return f"killed by {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
