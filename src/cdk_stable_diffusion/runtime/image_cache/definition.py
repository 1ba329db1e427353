"""The two state machines: one builds a snapshot, one ends what a broken build left.

A build runs in one branch of a Parallel state, for the sake of its one Catch: whatever happens in
there, the instance is found by its tag and terminated. Every loop in there is bounded, so that it
ends before the state machine's own time does. When even that fails, or somebody stops the build, an
event starts the other state machine, which terminates by tag, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...image_cache_handler.protocol import BUILD_TAG, CACHE_TAG, KEY_TAG
from .states import (
    States,
    call,
    equals,
    loop,
    none_of,
    retried,
    start,
    start_counting,
)

DATA_DEVICE = "/dev/xvdb"
"""Bottlerocket's second disk: images, logs and all else that changes."""

_PAUSE_SECONDS = 10
_WORK_PAUSE_SECONDS = 15

_AGENT_SECONDS = 8 * 60
_STOP_SECONDS = 5 * 60
_TERMINATE_SECONDS = 3 * 60
_LAUNCH_SECONDS = 2 * 60
OVERHEAD_SECONDS = _LAUNCH_SECONDS + _AGENT_SECONDS + _STOP_SECONDS + _TERMINATE_SECONDS
"""The longest that all but pulling and copying takes."""

_CLEANUP_SECONDS = 30 * 60

_BUILD_NAME = "$$.Execution.Name"


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """What a build needs to know.

    Attributes:
        cache: The cache.
        launch_template_id: Launch template of the instance.
        launch_template_version: Its version.
        subnet_ids: Subnets to launch it in, tried one after the other.
        timeout_seconds: How long a build may take.
    """

    cache: str
    launch_template_id: str
    launch_template_version: str
    subnet_ids: Sequence[str]
    timeout_seconds: int

    @property
    def work_tries(self) -> int:
        """How often pulling and copying are asked after, together."""
        return (self.timeout_seconds - OVERHEAD_SECONDS) // _WORK_PAUSE_SECONDS


def build_definition(plan: BuildPlan) -> dict[str, Any]:
    """Return the state machine that builds.

    Its input is ``{"Key": ..., "Commands": [...]}``, its output ``{"SnapshotId": ...}``.

    Args:
        plan: What it needs to know.
    """
    branch: States = {
        "Start": start("Launch 1"),
        **_launch(plan, then="Agent awaited"),
        **_agent(then="Pull"),
        **_pull(plan, then="Stop"),
        **_stop(then="Find volume"),
        **_snapshot(plan),
    }
    return {
        "Comment": "Pulls images onto a Bottlerocket data volume, and takes a snapshot of it.",
        "StartAt": "Build",
        "TimeoutSeconds": plan.timeout_seconds,
        "States": {
            "Build": {
                "Type": "Parallel",
                "Branches": [{"StartAt": "Start", "States": branch}],
                "ResultSelector": {"SnapshotId.$": "$[0].SnapshotId"},
                "ResultPath": "$.Result",
                "Catch": [
                    {"ErrorEquals": ["States.ALL"], "ResultPath": "$.Failure", "Next": "Settle"}
                ],
                "Next": "Settle",
            },
            **_terminate(cache=plan.cache, build=_BUILD_NAME, then="Built?"),
            "Built?": {
                "Type": "Choice",
                "Choices": [
                    {"Variable": "$.Failure.Cause", "IsPresent": True, "Next": "Failed"},
                    # A call without an answer has no cause.
                    {"Variable": "$.Failure", "IsPresent": True, "Next": "Failed in silence"},
                ],
                "Default": "Built",
            },
            "Failed": {
                "Type": "Fail",
                "ErrorPath": "$.Failure.Error",
                "CausePath": "$.Failure.Cause",
            },
            "Failed in silence": {"Type": "Fail", "ErrorPath": "$.Failure.Error"},
            "Built": {"Type": "Succeed", "OutputPath": "$.Result"},
        },
    }


def cleanup_definition(cache: str) -> dict[str, Any]:
    """Return the state machine that ends what a build left.

    Its input is the event that says how the build ended.

    Args:
        cache: The cache.
    """
    return {
        "Comment": "Terminates the instance of a build that ended badly.",
        "StartAt": "Settle",
        "TimeoutSeconds": _CLEANUP_SECONDS,
        "States": {
            **_terminate(cache=cache, build="$.detail.name", then="Done"),
            "Done": {"Type": "Succeed"},
        },
    }


def _launch(plan: BuildPlan, *, then: str) -> States:
    """Try one subnet, thus one zone, after the other: capacity is a matter of zones."""
    names = [f"Launch {number}" for number in range(1, len(plan.subnet_ids) + 1)]
    states: States = {}
    for index, (name, subnet_id) in enumerate(zip(names, plan.subnet_ids, strict=True)):
        parameters = {
            "LaunchTemplate": {
                "LaunchTemplateId": plan.launch_template_id,
                "Version": plan.launch_template_version,
            },
            "SubnetId": subnet_id,
            "MinCount": 1,
            "MaxCount": 1,
            # A second try finds the instance of the first, if that launched one.
            "ClientToken.$": f"States.Format('{{}}-{index}', {_BUILD_NAME})",
            "TagSpecifications": [
                {"ResourceType": kind, "Tags": _tags(plan.cache)} for kind in ("instance", "volume")
            ],
        }
        launch = call(
            "ec2:runInstances",
            parameters,
            result="$.Builder",
            select={"InstanceId.$": "$.Instances[0].InstanceId"},
        )
        # Again, for a new role or instance profile is not known everywhere at once.
        states[name] = retried(launch, times=3, then=then)
        if name != names[-1]:
            states[name]["Catch"] = [
                {
                    "ErrorEquals": ["States.ALL"],
                    "ResultPath": "$.NotLaunched",
                    "Next": names[index + 1],
                }
            ]
    return states


def _agent(*, then: str) -> States:
    """Wait until Systems Manager can reach the instance."""
    ask = call(
        "ssm:describeInstanceInformation",
        {"Filters": [{"Key": "InstanceIds", "Values.$": "States.Array($.Builder.InstanceId)"}]},
        result="$.Agent",
    )
    return {
        "Agent awaited": start_counting("Waited", "Agent"),
        **loop(
            "Agent",
            ask,
            done=equals("$.Agent.InstanceInformationList[0].PingStatus", "Online"),
            counter="Waited",
            seconds=_PAUSE_SECONDS,
            tries=_AGENT_SECONDS // _PAUSE_SECONDS,
            too_late="The instance never reported to Systems Manager. It must reach the services "
            "ssm, ssmmessages, ec2messages, ecr.api, ecr.dkr and s3, by a NAT gateway or by VPC "
            "endpoints.",
            then=then,
        ),
    }


def _pull(plan: BuildPlan, *, then: str) -> States:
    send = call(
        "ssm:sendCommand",
        {
            "DocumentName": "AWS-RunShellScript",
            "InstanceIds.$": "States.Array($.Builder.InstanceId)",
            "Comment": "Pulls container images for a snapshot",
            "TimeoutSeconds": 120,
            "Parameters": {
                "commands.$": "$.Commands",
                "executionTimeout": [str(plan.timeout_seconds)],
            },
        },
        result="$.Sent",
        select={"CommandId.$": "$.Command.CommandId"},
    )
    ask = call(
        "ssm:getCommandInvocation",
        {"CommandId.$": "$.Sent.CommandId", "InstanceId.$": "$.Builder.InstanceId"},
        result="$.Command",
    )
    return {
        "Pull": retried(send, times=2, then="Pull awaited"),
        "Pull awaited": start_counting("Worked", "Pulled"),
        **loop(
            "Pulled",
            ask,
            done=equals("$.Command.Status", "Success"),
            failed=none_of("$.Command.Status", "Pending", "InProgress", "Delayed"),
            failure={
                "Type": "Fail",
                "Error": "NotPulled",
                "CausePath": "States.Format('The images could not be pulled ({}). {}', "
                "$.Command.Status, $.Command.StandardErrorContent)",
            },
            counter="Worked",
            seconds=_WORK_PAUSE_SECONDS,
            tries=plan.work_tries,
            too_late="Pulling the images took too long: raise timeout, or choose an instance type "
            "with a faster network.",
            then=then,
        ),
    }


def _stop(*, then: str) -> States:
    """Stop the instance, which writes all that is still in its memory to the volume."""
    this = {"InstanceIds.$": "States.Array($.Builder.InstanceId)"}
    ask = call("ec2:describeInstances", this, result="$.Found")
    return {
        "Stop": retried(call("ec2:stopInstances", this), times=4, then="Stop awaited"),
        "Stop awaited": start_counting("Waited", "Stopped"),
        **loop(
            "Stopped",
            ask,
            done=equals("$.Found.Reservations[0].Instances[0].State.Name", "stopped"),
            counter="Waited",
            seconds=_PAUSE_SECONDS,
            tries=_STOP_SECONDS // _PAUSE_SECONDS,
            too_late="The instance did not stop.",
            then=then,
        ),
    }


def _snapshot(plan: BuildPlan) -> States:
    find = call(
        "ec2:describeVolumes",
        {
            "Filters": [
                {
                    "Name": "attachment.instance-id",
                    "Values.$": "States.Array($.Builder.InstanceId)",
                },
                {"Name": "attachment.device", "Values": [DATA_DEVICE]},
            ]
        },
        result="$.Volume",
        select={"VolumeId.$": "$.Volumes[0].VolumeId"},
    )
    create = call(
        "ec2:createSnapshot",
        {
            "VolumeId.$": "$.Volume.VolumeId",
            "Description": "Container images for Bottlerocket nodes",
            "TagSpecifications": [
                {
                    "ResourceType": "snapshot",
                    "Tags": [*_tags(plan.cache), {"Key": KEY_TAG, "Value.$": "$.Key"}],
                }
            ],
        },
        result="$.Snapshot",
        select={"SnapshotId.$": "$.SnapshotId"},
    )
    ask = call(
        "ec2:describeSnapshots",
        {"SnapshotIds.$": "States.Array($.Snapshot.SnapshotId)"},
        result="$.Copy",
    )
    return {
        "Find volume": retried(find, times=4, then="Snapshot"),
        # EC2 takes no token here: after a lost answer there may be two, of which one is pruned.
        "Snapshot": retried(create, times=1, then="Copied"),
        **loop(
            "Copied",
            ask,
            done=equals("$.Copy.Snapshots[0].State", "completed"),
            failed=equals("$.Copy.Snapshots[0].State", "error"),
            failure={
                "Type": "Fail",
                "Error": "NotCopied",
                "CausePath": "States.Format('EC2 could not complete the snapshot {}.', "
                "$.Snapshot.SnapshotId)",
            },
            # Pulling and copying share their time: whichever is slow may take it.
            counter="Worked",
            seconds=_WORK_PAUSE_SECONDS,
            tries=plan.work_tries,
            too_late="The snapshot took too long. It goes on without this build, and the next "
            "deployment takes it once it is complete.",
            then="Snapshot made",
        ),
        "Snapshot made": {"Type": "Pass", "OutputPath": "$.Snapshot", "End": True},
    }


def _terminate(*, cache: str, build: str, then: str) -> States:
    """Return states that terminate all instances of a build, until none is found."""
    find = call(
        "ec2:describeInstances",
        {
            "Filters": [
                {"Name": f"tag:{CACHE_TAG}", "Values": [cache]},
                {"Name": f"tag:{BUILD_TAG}", "Values.$": f"States.Array({build})"},
                {
                    "Name": "instance-state-name",
                    "Values": ["pending", "running", "stopping", "stopped"],
                },
            ]
        },
        result="$.Left",
    )
    return {
        # EC2 shows a new instance a moment late.
        "Settle": {"Type": "Wait", "Seconds": 15, "Next": "Settled"},
        "Settled": start("Termination awaited"),
        "Termination awaited": start_counting("Waited", "Terminated"),
        **loop(
            "Terminated",
            find,
            done={"Variable": "$.Left.Reservations[0]", "IsPresent": False},
            meanwhile=call(
                "ec2:terminateInstances",
                {"InstanceIds.$": "$.Left.Reservations[*].Instances[*].InstanceId"},
            ),
            counter="Waited",
            seconds=_PAUSE_SECONDS,
            tries=_TERMINATE_SECONDS // _PAUSE_SECONDS,
            too_late="The instance could not be terminated.",
            then=then,
        ),
    }


def _tags(cache: str) -> list[dict[str, str]]:
    return [
        {"Key": CACHE_TAG, "Value": cache},
        {"Key": BUILD_TAG, "Value.$": _BUILD_NAME},
    ]
