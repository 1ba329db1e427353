"""What is written can be read back and is the same."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given

from cdk_stable_diffusion.contract import (
    AgentEnvironment,
    HandlerEnvironment,
    InvalidMessage,
    InvalidModel,
    InvalidTask,
    ModelManifest,
    ResultMessage,
    RouteTable,
    TaskMessage,
    TaskProgress,
    TaskRequest,
)
from cdk_stable_diffusion.contract.limits import MAX_REQUEST_BYTES
from tests.contract import strategies as made

SNS_BYTES = 262_144
DYNAMIC_AGENT = AgentEnvironment(
    queue_url="queue",
    dead_letter_queue_url="dead",
    result_topic_arn="topic",
    output_bucket="outputs",
    model_bucket="models",
    runtime_name="any",
    runtime_class="dynamic",
    models=(),
    lease_seconds=60,
    task_timeout_seconds=300,
    drain_seconds=60,
    max_receive_count=3,
    model_cache_directory="/models",
    model_cache_bytes=1,
    health_port=0,
)
LANES = ("queue", "second")


@given(made.requests)
def test_request(request: TaskRequest) -> None:
    assert TaskRequest.parse(request.to_dict()) == request


@given(made.task_messages)
def test_task_message(message: TaskMessage) -> None:
    assert TaskMessage.from_json(message.to_json()) == message
    assert all(isinstance(value, str) and value for value in message.attributes().values())


@given(made.result_messages)
def test_result_message(result: ResultMessage) -> None:
    assert ResultMessage.from_json(result.to_json()) == result
    assert all(isinstance(value, str) and value for value in result.attributes().values())


@given(made.progress_reports)
def test_task_progress(progress: TaskProgress) -> None:
    assert TaskProgress.from_json(progress.to_json()) == progress


@given(made.manifests)
def test_manifest(manifest: ModelManifest) -> None:
    assert ModelManifest.from_json(manifest.to_json()) == manifest


@given(made.handler_environments)
def test_handler_environment(environment: HandlerEnvironment) -> None:
    assert HandlerEnvironment.from_environment(environment.to_environment()) == environment


@given(made.agent_environments())
def test_agent_environment(environment: AgentEnvironment) -> None:
    assert AgentEnvironment.from_environment(environment.to_environment()) == environment


@given(made.agent_environments())
def test_what_has_its_default_is_not_written(environment: AgentEnvironment) -> None:
    # The image sets it, and a variable of the pod, even an empty one, would hide that.
    written = environment.to_environment()
    directory = environment.image_models_directory
    assert written.get("SD_IMAGE_MODELS_DIRECTORY", "") == directory
    assert ("SD_IMAGE_MODELS_DIRECTORY" in written) == bool(directory)


@given(made.agent_environments())
@pytest.mark.parametrize(
    "host", ["", "localhost", "127.0.0.1", "*.example.org", "Example.org", "a.org:443", "a.org."]
)
def test_only_full_names_of_hosts_can_be_allowed(host: str, environment: AgentEnvironment) -> None:
    variables = replace(environment, input_hosts=("example.org", host)).to_environment()
    with pytest.raises(ValueError, match="SD_INPUT_HOSTS must hold full DNS names"):
        AgentEnvironment.from_environment(variables)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"SD_LANE_QUEUE_URLS": '["other", "queue"]'}, "SD_LANE_QUEUE_URLS must be"),
        ({"SD_LANE_QUEUE_URLS": '["queue"]'}, "SD_LANE_QUEUE_URLS must be"),
        ({"SD_MEMBERS_SERVICE": "any-members"}, "SD_MEMBERS_SERVICE must be the namespace"),
        (
            {"SD_MEMBERS_SERVICE": "here/any", "SD_MEMBERS_DIRECTORY": "there"},
            "SD_MEMBERS_DIRECTORY must be empty where SD_MEMBERS_SERVICE is set",
        ),
        ({"SD_STEAL_AFTER_MILLISECONDS": "60001"}, "SD_STEAL_AFTER_MILLISECONDS must be 0 to"),
        ({"SD_MEMORY_CACHE_BYTES": "-1"}, "SD_MEMORY_CACHE_BYTES must be at least 0"),
    ],
)
def test_lanes_that_cannot_be_are_refused(changes: dict[str, str], says: str) -> None:
    variables = DYNAMIC_AGENT.to_environment()
    AgentEnvironment.from_environment(variables)
    with pytest.raises(ValueError, match=says):
        AgentEnvironment.from_environment({**variables, **changes})


def test_a_static_runtime_has_no_lanes() -> None:
    agent = replace(
        DYNAMIC_AGENT,
        models=("m",),
        runtime_class="static",
        lane_queue_urls=LANES,
        overflow_queue_url="overflow",
    )
    with pytest.raises(ValueError, match="in a dynamic runtime only"):
        AgentEnvironment.from_environment(agent.to_environment())


@pytest.mark.parametrize(("lanes", "overflow"), [(LANES, "overflow"), ((), "")])
def test_lanes_come_with_an_overflow_queue(lanes: tuple[str, ...], overflow: str) -> None:
    agent = replace(DYNAMIC_AGENT, lane_queue_urls=lanes, overflow_queue_url=overflow)
    variables = agent.to_environment()
    assert variables.get("SD_OVERFLOW_QUEUE_URL", "") == overflow
    assert AgentEnvironment.from_environment(variables) == agent


@pytest.mark.parametrize(
    ("lanes", "overflow"),
    [((), "overflow"), (LANES, ""), (LANES, "queue"), (LANES, "second")],
    ids=["alone", "missing", "the first lane", "another lane"],
)
def test_an_overflow_queue_that_cannot_be_is_refused(lanes: tuple[str, ...], overflow: str) -> None:
    agent = replace(DYNAMIC_AGENT, lane_queue_urls=lanes, overflow_queue_url=overflow)
    with pytest.raises(ValueError) as caught:
        AgentEnvironment.from_environment(agent.to_environment())
    assert str(caught.value) == (
        "wrong environment: SD_OVERFLOW_QUEUE_URL must be given with SD_LANE_QUEUE_URLS, and only "
        "then, and be none of them"
    )


@given(made.route_tables())
def test_routes(table: RouteTable) -> None:
    assert RouteTable.from_json(table.to_json()) == table


def test_an_environment_names_every_missing_variable() -> None:
    with pytest.raises(ValueError, match=r"SD_REQUEST_TOPIC_ARN.*SD_MODEL_BUCKET.*SD_ROUTES"):
        HandlerEnvironment.from_environment({"SD_OUTPUT_BUCKET": "b"})


def test_the_largest_request_fits_a_message() -> None:
    room = MAX_REQUEST_BYTES // 2
    request = TaskRequest(model="m", prompt="é" * 4_000, context="\x01" * 1_365)
    body = json.dumps(request.to_dict())
    assert len(body.encode()) < room * 2
    message = TaskMessage("0" * 8, "2026-01-01T00:00:00.000Z", "r", "static", request)
    assert len(message.to_json().encode()) < SNS_BYTES


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", "{", '{"version": "2"}', '{"version": "1", "x": 1}']
)
def test_what_is_no_message_is_refused(text: str) -> None:
    for read, error in (
        (TaskMessage.from_json, InvalidMessage),
        (ResultMessage.from_json, InvalidMessage),
        (TaskProgress.from_json, InvalidMessage),
        (ModelManifest.from_json, InvalidModel),
    ):
        with pytest.raises(error) as caught:
            read(text)
        assert caught.value.faults


def test_a_message_of_another_version_is_refused() -> None:
    request = TaskRequest(model="m", prompt="p")
    message = TaskMessage(
        "12345678-1234-1234-1234-123456789012", "2026-01-01T00:00:00.000Z", "r", "static", request
    )
    assert TaskMessage.from_json(message.to_json()) == message
    with pytest.raises(InvalidMessage, match="/version"):
        TaskMessage.from_json(message.to_json().replace('"version":"1"', '"version":"2"'))


def test_a_request_is_refused_with_all_its_faults() -> None:
    with pytest.raises(InvalidTask) as caught:
        TaskRequest.parse({"steps": 0, "x": 1})
    assert [fault.pointer for fault in caught.value.faults] == ["/x", "/model", "/prompt", "/steps"]
    assert "/steps: must be 1 to 150, is 0" in str(caught.value)
