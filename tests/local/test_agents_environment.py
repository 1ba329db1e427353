"""What agents of the local service are told beside what those in a cluster are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cdk_stable_diffusion.contract import AgentEnvironment
from cdk_stable_diffusion.local.runtimes import Runtime
from cdk_stable_diffusion.local.service import LocalService
from tests.local.test_runtimes_found import SETTINGS

LANES = replace(
    SETTINGS,
    runtime_name="any",
    runtime_class="dynamic",
    models=(),
    lane_queue_urls=(SETTINGS.queue_url, "http://127.0.0.1/q1"),
    overflow_queue_url="http://127.0.0.1/overflow",
    members_service="stable-diffusion/members-any",
)


def told(service: LocalService, settings: AgentEnvironment, number: int) -> AgentEnvironment:
    environment = service._environment(Runtime(settings=settings), number, 2)
    return AgentEnvironment.from_environment(environment)


def test_agents_of_one_runtime_find_each_other_in_a_folder(tmp_path: Path) -> None:
    service = LocalService()
    service.directory = tmp_path
    first, second, other = (
        told(service, LANES, 1),
        told(service, LANES, 2),
        told(service, SETTINGS, 1),
    )
    assert first.lane_queue_urls == LANES.lane_queue_urls
    assert first.overflow_queue_url == LANES.overflow_queue_url
    assert (first.replica_name, second.replica_name) == ("any-1", "any-2")
    # There is no cluster that would say which agents there are.
    assert first.members_service == ""
    assert Path(first.members_directory).is_dir()
    assert first.members_directory == second.members_directory
    assert first.members_directory != other.members_directory


def test_agents_of_one_runtime_have_caches_of_their_own(tmp_path: Path) -> None:
    service = LocalService()
    service.directory = tmp_path
    caches = {told(service, LANES, number).model_cache_directory for number in (1, 2)}
    assert len(caches) == 2
