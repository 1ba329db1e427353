"""The real state machines, from the template, in an emulated account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from cdk_stable_diffusion.image_cache_handler.builds import BuildFailed
from cdk_stable_diffusion.image_cache_handler.protocol import BUILD_TAG, CACHE_TAG, KEY_TAG
from cdk_stable_diffusion.image_cache_handler.request import CacheRequest
from tests.image_cache.world import IMAGE, OTHER_IMAGE, World

THIRD_IMAGE = "public.ecr.aws/example/third@sha256:" + "c" * 64


def request_id() -> str:
    return str(uuid4())


def test_a_build_leaves_a_tagged_snapshot_and_no_instance(world: World) -> None:
    request = request_id()
    snapshot_id = world.deploy("Create", request, IMAGE, OTHER_IMAGE)
    (tags,) = world.snapshots().values()
    assert tags == {
        CACHE_TAG: world.cache,
        KEY_TAG: CacheRequest.from_properties(world.properties(IMAGE, OTHER_IMAGE)).key(),
        BUILD_TAG: request,
    }
    (snapshot,) = world.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
    assert (snapshot["VolumeSize"], snapshot["Encrypted"]) == (60, True)
    assert world.live_instances() == []


def test_the_instance_is_tagged_when_it_is_launched(world: World) -> None:
    request = request_id()
    world.deploy("Create", request, IMAGE)
    (launch,) = world.launches
    tags = {
        launch[f"TagSpecification.{kind}.ResourceType"]: {
            launch[f"TagSpecification.{kind}.Tag.{tag}.Key"]: launch[
                f"TagSpecification.{kind}.Tag.{tag}.Value"
            ]
            for tag in (1, 2)
        }
        for kind in (1, 2)
    }
    expected = {CACHE_TAG: world.cache, BUILD_TAG: request}
    assert tags == {"instance": expected, "volume": expected}


def test_the_host_pulls_what_was_asked_for_and_nothing_else_remains(world: World) -> None:
    (world.host.folder / "images").write_text("localhost/kubernetes/pause:0.1.0\n")
    world.deploy("Create", request_id(), IMAGE, OTHER_IMAGE)
    assert (world.host.folder / "images").read_text().split() == sorted([IMAGE, OTHER_IMAGE])
    programs = [call[0] for call in world.host.calls()]
    # First its end is certain, then nothing else touches the disk, then it pulls.
    assert programs[:2] == ["shutdown", "systemctl"]
    pulls = [call for call in world.host.calls() if "pull-image" in call]
    assert [each for call in pulls for each in call if each.startswith("--source=")] == [
        f"--source={image}" for image in sorted([IMAGE, OTHER_IMAGE])
    ]


def test_another_zone_is_tried_when_one_has_no_capacity(world: World) -> None:
    world.refusals["RunInstances"] = lambda request: (
        "InsufficientInstanceCapacity" if request["SubnetId"] == "subnet-a" else None
    )
    world.deploy("Create", request_id(), IMAGE)
    tried = [each["SubnetId"] for each in world.launches]
    assert tried == ["subnet-a"] * 4 + ["subnet-b"]
    assert world.live_instances() == []


def test_a_launch_whose_answer_is_lost_is_not_launched_twice(world: World) -> None:
    from ministack.services import ec2

    run = ec2._ACTION_MAP["RunInstances"]
    lost = [True]

    def lose_once(request: Any) -> Any:
        answer = run(request)
        return ec2._error("InternalError", "lost", 500) if lost and lost.pop() else answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ec2._ACTION_MAP, "RunInstances", lose_once)
        world.deploy("Create", request_id(), IMAGE)
    assert len(world.launches) == 2
    assert len(ec2._instances) == 1
    assert world.live_instances() == []


def offline(world: World) -> None:
    world.host.online = False


def broken_image(world: World) -> None:
    world.host.broken_images = (IMAGE,)


def endless_pull(world: World) -> None:
    world.host.hangs = True


def bad_snapshot(world: World) -> None:
    world.snapshot_state = "error"


def endless_snapshot(world: World) -> None:
    world.snapshot_state = "pending"


def refused(action: str, code: str) -> Callable[[World], None]:
    def break_it(world: World) -> None:
        world.refusals[action] = lambda request: code

    break_it.__name__ = action
    return break_it


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (offline, "never reported to Systems Manager"),
        (broken_image, f"no such image: {IMAGE}"),
        (endless_pull, "Pulling the images took too long"),
        (bad_snapshot, "could not complete the snapshot"),
        (endless_snapshot, "The snapshot took too long"),
        (refused("RunInstances", "InsufficientInstanceCapacity"), "InsufficientInstanceCapacity"),
        (refused("StopInstances", "IncorrectInstanceState"), "IncorrectInstanceState"),
        (refused("DescribeVolumes", "RequestLimitExceeded"), "RequestLimitExceeded"),
        (refused("CreateSnapshot", "SnapshotLimitExceeded"), "SnapshotLimitExceeded"),
        (refused("DescribeSnapshots", "UnauthorizedOperation"), "UnauthorizedOperation"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_broken_build_says_why_and_leaves_no_instance(
    world: World, break_it: Callable[[World], None], said: str
) -> None:
    event = world.begin("Create", request_id(), IMAGE)
    break_it(world)
    with pytest.raises(BuildFailed) as failure:
        world.finish(event)
    assert said in str(failure.value)
    assert event["ExecutionArn"] in str(failure.value)
    assert world.live_instances() == []


def test_an_instance_that_will_not_go_at_once_is_terminated_again(world: World) -> None:
    refusals = ["RequestLimitExceeded"] * 3
    world.refusals["TerminateInstances"] = lambda request: refusals.pop() if refusals else None
    world.deploy("Create", request_id(), IMAGE)
    assert not refusals
    assert world.live_instances() == []


def test_after_a_failure_the_next_deployment_builds(world: World) -> None:
    broken_image(world)
    with pytest.raises(BuildFailed):
        world.deploy("Create", request_id(), IMAGE)
    world.host.broken_images = ()
    assert world.deploy("Create", request_id(), IMAGE) in world.snapshots()


def test_a_snapshot_that_completes_late_is_taken_by_the_next_deployment(world: World) -> None:
    from ministack.services import ec2

    endless_snapshot(world)
    with pytest.raises(BuildFailed):
        world.deploy("Create", request_id(), IMAGE)
    (late,) = world.snapshots()
    ec2._snapshots[late]["State"] = "completed"
    launches = len(world.launches)
    assert world.deploy("Create", request_id(), IMAGE) == late
    assert len(world.launches) == launches


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT"])
def test_a_build_that_is_ended_from_outside_leaves_no_instance(world: World, status: str) -> None:
    from ministack.services import stepfunctions

    endless_pull(world)
    event = world.begin("Create", request_id(), IMAGE)
    world.wait_until(lambda: bool(world.live_instances()))
    if status == "ABORTED":
        world.steps.stop_execution(executionArn=event["ExecutionArn"])
    else:
        # The emulator keeps no time for a whole state machine.
        stepfunctions._executions[event["ExecutionArn"]]["status"] = status
        stepfunctions._emit_execution_status_event(stepfunctions._executions[event["ExecutionArn"]])
    world.wait_until(lambda: not world.live_instances())
    cleanups = world.steps.list_executions(stateMachineArn=world.cleanup_arn)["executions"]
    assert cleanups
    with pytest.raises(BuildFailed, match=status):
        world.finish(event)


def test_only_the_newest_versions_are_kept(world: World) -> None:
    first = world.deploy("Create", request_id(), IMAGE)
    second = world.deploy(
        "Update", request_id(), OTHER_IMAGE, OldResourceProperties=world.properties(IMAGE)
    )
    assert set(world.snapshots()) == {first, second}
    third = world.deploy(
        "Update", request_id(), THIRD_IMAGE, OldResourceProperties=world.properties(OTHER_IMAGE)
    )
    assert set(world.snapshots()) == {second, third}


def test_a_rollback_builds_nothing(world: World) -> None:
    first = world.deploy("Create", request_id(), IMAGE)
    world.deploy("Update", request_id(), OTHER_IMAGE, OldResourceProperties=world.properties(IMAGE))
    launches = len(world.launches)
    back = world.deploy(
        "Update", request_id(), IMAGE, OldResourceProperties=world.properties(OTHER_IMAGE)
    )
    assert (back, len(world.launches)) == (first, launches)


def test_an_update_of_something_else_builds_nothing(world: World) -> None:
    first = world.deploy("Create", request_id(), IMAGE)
    same = world.deploy(
        "Update", request_id(), IMAGE, keep=3, OldResourceProperties=world.properties(IMAGE)
    )
    assert (same, len(world.launches)) == (first, 1)


def test_deletion_ends_a_build_and_leaves_nothing(world: World) -> None:
    world.deploy("Create", request_id(), IMAGE)
    endless_pull(world)
    build = world.begin("Update", request_id(), OTHER_IMAGE)
    world.wait_until(lambda: bool(world.live_instances()))
    deletion = world.begin("Delete", request_id(), OTHER_IMAGE)
    assert deletion["PhysicalResourceId"] == world.cache
    world.finish(deletion)
    assert world.live_instances() == []
    assert world.snapshots() == {}
    execution = world.steps.describe_execution(executionArn=build["ExecutionArn"])
    assert execution["status"] == "ABORTED"


def test_deletion_spares_what_is_another_caches(world: World) -> None:
    volume = world.ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
    other = world.ec2.create_snapshot(
        VolumeId=volume,
        TagSpecifications=[
            {"ResourceType": "snapshot", "Tags": [{"Key": CACHE_TAG, "Value": "another"}]}
        ],
    )["SnapshotId"]
    instance = world.ec2.run_instances(
        ImageId="ami-12345678",
        MinCount=1,
        MaxCount=1,
        LaunchTemplate={},
        TagSpecifications=[
            {"ResourceType": "instance", "Tags": [{"Key": CACHE_TAG, "Value": "another"}]}
        ],
    )["Instances"][0]["InstanceId"]
    world.deploy("Create", request_id(), IMAGE)
    world.finish(world.begin("Delete", request_id(), IMAGE))
    assert set(world.snapshots()) == {other}
    assert world.live_instances() == [instance]
