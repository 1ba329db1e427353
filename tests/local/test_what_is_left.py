"""What a service leaves behind: nothing, or the logs of what failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from cdk_stable_diffusion.local.agents import Agent
from cdk_stable_diffusion.local.errors import LocalError
from cdk_stable_diffusion.local.service import LocalService


class Ready(LocalService):
    """A service that is up at once, with an agent that may have ended."""

    ended_unexpectedly = False

    def _up(self) -> None:
        self.log_directory.mkdir(parents=True)
        (self.directory / "models").mkdir()
        log = self.log_directory / "tiny-1.log"
        log.write_text("loading\n")
        agent = Agent("tiny-1", "tiny", {}, log)
        agent.ended_unexpectedly = self.ended_unexpectedly
        self._supervisor.agents = (agent,)
        self._exit.callback(self._clear)


def ready(directory: Path, said: list[str]) -> Ready:
    service = Ready(say=said.append)
    service.directory = directory / "service"
    return service


def test_a_clean_end_leaves_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    with ready(tmp_path, said):
        pass
    assert list(tmp_path.iterdir()) == []
    assert said == []


def test_an_interruption_is_a_clean_end(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), ready(tmp_path, []):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_logs_stay_after_a_failure_and_one_is_told_where(tmp_path: Path) -> None:
    said: list[str] = []
    with pytest.raises(LocalError), ready(tmp_path, said) as service:
        raise LocalError("no result")
    assert said == [f"the agents' logs are left in {service.log_directory}"]
    assert [each.name for each in service.directory.iterdir()] == ["logs"]
    assert (service.log_directory / "tiny-1.log").read_text() == "loading\n"


def test_logs_of_an_agent_that_died_stay(tmp_path: Path) -> None:
    said: list[str] = []
    service = ready(tmp_path, said)
    service.ended_unexpectedly = True
    with service:
        pass
    assert service.log_directory.is_dir()
    assert len(said) == 1
