"""Agents are kept running, and never outlive the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cdk_stable_diffusion.local.agents import Agent, AgentSupervisor

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn", flush=True)
time.sleep(600)
"""
WITH_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def is_alive(process_id: int) -> bool:
    try:
        state = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def environment_with(directory: Path) -> dict[str, str]:
    path = [os.environ.get("PYTHONPATH", ""), str(directory)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def agent_of(directory: Path, source: str) -> Agent:
    (directory / "stand_in.py").write_text(source)
    return Agent("a-1", "a", environment_with(directory), directory / "a.log", module="stand_in")


def test_an_agent_that_dies_is_started_again(tmp_path: Path) -> None:
    said: list[str] = []
    agent = agent_of(tmp_path, "print('here', flush=True); import time; time.sleep(600)")
    supervisor = AgentSupervisor(say=said.append)
    supervisor.start((agent,))
    try:
        until(lambda: agent.log.exists() and "here" in agent.log.read_text())
        first = agent.process_id
        assert first is not None
        os.kill(first, signal.SIGKILL)
        until(lambda: agent.log.read_text().count("here") == 2)
        assert agent.process_id not in (None, first)
        assert "killed by SIGKILL" in said[0]
        assert str(agent.log) in said[0]
    finally:
        supervisor.stop()
    assert agent.process_id is None
    assert agent.ended_unexpectedly


def test_one_that_is_asked_to_end_has_not_failed(tmp_path: Path) -> None:
    agent = agent_of(tmp_path, "print('here', flush=True); import time; time.sleep(600)")
    supervisor = AgentSupervisor(say=lambda line: None)
    supervisor.start((agent,))
    try:
        until(lambda: agent.log.exists() and "here" in agent.log.read_text())
    finally:
        supervisor.stop()
    assert not agent.ended_unexpectedly


def test_one_that_dies_at_once_is_started_ever_less_often(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = AgentSupervisor(say=said.append)
    supervisor.start((agent_of(tmp_path, "raise SystemExit(3)"),))
    try:
        until(lambda: len(said) == 2)
    finally:
        supervisor.stop()
    assert "exit code 3" in said[0]
    assert "again in 0.5 s" in said[0]
    assert "again in 1 s" in said[1]


def test_an_engine_does_not_outlive_its_agent(tmp_path: Path) -> None:
    agent = agent_of(tmp_path, WITH_CHILD)
    supervisor = AgentSupervisor(say=lambda line: None)
    supervisor.start((agent,))
    try:
        until(lambda: agent.log.exists() and agent.log.read_text().strip())
        child = int(agent.log.read_text())
        assert is_alive(child)
        process = agent.process_id
        assert process is not None
        os.kill(process, signal.SIGKILL)
        until(lambda: not is_alive(child))
    finally:
        supervisor.stop()


def test_one_that_does_not_want_to_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cdk_stable_diffusion.local.agents.END_SECONDS", 0.2)
    agent = agent_of(tmp_path, STUBBORN)
    supervisor = AgentSupervisor(say=lambda line: None)
    supervisor.start((agent,))
    until(lambda: agent.log.exists() and agent.log.read_text())
    process = agent.process_id
    assert process is not None
    supervisor.stop()
    assert not is_alive(process)


def test_agents_end_when_the_service_is_killed(tmp_path: Path) -> None:
    (tmp_path / "stand_in.py").write_text(STUBBORN)
    service = tmp_path / "service.py"
    service.write_text(
        "import os, pathlib, time\n"
        "from cdk_stable_diffusion.local.agents import Agent, AgentSupervisor\n"
        f"folder = pathlib.Path({str(tmp_path)!r})\n"
        "agent = Agent('a-1', 'a', dict(os.environ), folder / 'a.log', module='stand_in')\n"
        "supervisor = AgentSupervisor(say=print)\n"
        "supervisor.start((agent,))\n"
        "while not (agent.log.exists() and agent.log.read_text()): time.sleep(0.02)\n"
        "print(agent.process_id, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(service)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment_with(tmp_path),
    ) as process:
        assert process.stdout is not None
        agent = int(process.stdout.readline())
        assert is_alive(agent)
        process.kill()
    until(lambda: not is_alive(agent))
