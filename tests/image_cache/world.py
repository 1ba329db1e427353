"""An AWS account in which the real state machines run, with a host to command.

The state machines, the rule between them, and what they launch are deployed from the synthesised
template to the emulator. Two things it lacks are put in, and nothing else: instances get the disks
that their launch template names, and commands run in a shell of this machine, in which `apiclient`
stands for Bottlerocket's.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import boto3
import pytest
from aws_cdk import aws_ec2 as ec2

from cdk_stable_diffusion.image_cache_handler import app, protocol
from cdk_stable_diffusion.local.emulator import Emulator
from cdk_stable_diffusion.runtime.image import RuntimeImage
from cdk_stable_diffusion.runtime.image_cache import ImageCache

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/runtime@sha256:" + "a" * 64
OTHER_IMAGE = "public.ecr.aws/example/image@sha256:" + "b" * 64
LIVE = ["pending", "running", "stopping", "stopped"]


def template(*images: str) -> dict[str, Any]:
    """Return a stack with a cache, in two subnets."""
    cdk_app = cdk.App()
    stack = cdk.Stack(
        cdk_app,
        "Stack",
        synthesizer=cdk.DefaultStackSynthesizer(generate_bootstrap_version_rule=False),
    )
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "Vpc",
        vpc_id="vpc-00000001",
        availability_zones=["us-east-1a", "us-east-1b"],
        private_subnet_ids=["subnet-a", "subnet-b"],
    )
    ImageCache(
        stack, "Cache", images=[RuntimeImage.from_registry(each) for each in images], vpc=vpc
    )
    result: dict[str, Any] = cdk_app.synth().get_stack_by_name("Stack").template
    return result


def deployable(whole: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a template that is deployed: all but the functions, which run here."""
    kept = {
        logical_id: resource
        for logical_id, resource in whole["Resources"].items()
        if "Provider" not in logical_id and not resource["Type"].startswith("Custom::")
    }
    (custom,) = (
        each for each in whole["Resources"].values() if each["Type"].startswith("Custom::")
    )
    machines = [
        logical_id
        for logical_id, resource in kept.items()
        if resource["Type"] == "AWS::StepFunctions::StateMachine"
    ]
    (build,) = (each for each in machines if "Cleanup" not in each)
    (cleanup,) = (each for each in machines if "Cleanup" in each)
    return {
        "Parameters": {
            name: {"Type": "String", "Default": "ami-12345678"} for name in whole["Parameters"]
        },
        "Resources": kept,
        "Outputs": {
            "Cache": {"Value": custom["Properties"]["Cache"]},
            "Build": {"Value": {"Ref": build}},
            "Cleanup": {"Value": {"Ref": cleanup}},
        },
    }


@dataclass
class Host:
    """What stands for the Bottlerocket host: its programs, and whether it is there at all.

    Attributes:
        folder: Where its programs are.
        online: Whether its agent reports.
        broken_images: Images that no registry has.
        hangs: Whether a command goes on and on.
    """

    folder: Path
    online: bool = True
    broken_images: tuple[str, ...] = ()
    hangs: bool = False

    def run(self, argv: list[str]) -> tuple[int, str, str]:
        """Run a command of Systems Manager."""
        if self.hangs:
            while self.hangs:
                time.sleep(0.02)
            return 143, "", "killed"
        (self.folder / "broken").write_text("\n".join(self.broken_images))
        done = subprocess.run(
            argv,
            env={"PATH": f"{self.folder}:/usr/bin:/bin", "HOST": str(self.folder)},
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=30,
        )
        return done.returncode, done.stdout, done.stderr

    def calls(self) -> list[list[str]]:
        """Return what ran on the host, argument by argument."""
        log = self.folder / "calls"
        if not log.exists():
            return []
        return [line.split("\x1f")[:-1] for line in log.read_text().splitlines()]


# Logs its arguments, and knows as much of containerd as the commands ask.
_APICLIENT = r"""#!/bin/sh
[ "$1 $2" = "exec admin" ] || exit 64
shift 2
[ "$1" = true ] && exit 0
[ "$1" = sheltie ] || exit 64
shift
for each in "$@"; do printf '%s\037' "$each"; done >> "$HOST/calls"
echo >> "$HOST/calls"
touch "$HOST/images"
case "$*" in
*pull-image*)
    for each in "$@"; do
        case "$each" in --source=*) image=${each#--source=} ;; esac
    done
    if grep -Fqx -- "$image" "$HOST/broken"; then echo "no such image: $image"; exit 1; fi
    echo "$image" >> "$HOST/images" ;;
*"images ls"*|*"images check"*) cat "$HOST/images" ;;
*"images rm"*)
    for image in "$@"; do :; done
    grep -Fvx -- "$image" "$HOST/images" > "$HOST/rest"
    mv "$HOST/rest" "$HOST/images" ;;
esac
"""


@dataclass
class World:
    """The account, and what a test may ask of it and do to it.

    Attributes:
        host: The host.
        cache: The cache.
        build_arn: The state machine that builds.
        cleanup_arn: The one that cleans up.
        refusals: Answers of EC2, by action, instead of its own.
        launches: Requests for instances.
        snapshot_state: What becomes of a snapshot.
    """

    host: Host
    cache: str = ""
    build_arn: str = ""
    cleanup_arn: str = ""
    refusals: dict[str, Callable[[Mapping[str, str]], str | None]] = field(default_factory=dict)
    launches: list[dict[str, str]] = field(default_factory=list)
    snapshot_state: str = "completed"

    def __post_init__(self) -> None:
        self.ec2 = boto3.client("ec2")
        self.steps = boto3.client("stepfunctions")

    def properties(self, *images: str, keep: int = 2) -> dict[str, Any]:
        """Return what CloudFormation passes to the functions: text throughout."""
        return {
            "ServiceToken": "arn:aws:lambda:us-east-1:000000000000:function:framework",
            "Cache": self.cache,
            "Recipe": str(protocol.RECIPE),
            "Images": [{"Uri": each, "Source": protocol.REGISTRY} for each in images],
            "Variant": "aws-k8s-1.35",
            "Version": "1.57.0",
            "Snapshotter": "overlayfs",
            "VolumeGibibytes": "60",
            "KeepVersions": str(keep),
            "LifetimeMinutes": "45",
        }

    def begin(self, kind: str, request_id: str, *images: str, **more: Any) -> dict[str, Any]:
        """Do what CloudFormation and AWS CDK's framework do first."""
        event = {
            "RequestType": kind,
            "RequestId": request_id,
            "ResourceProperties": self.properties(*images, keep=more.pop("keep", 2)),
            **({"PhysicalResourceId": self.cache} if kind != "Create" else {}),
            **more,
        }
        return {**event, **app.on_event(event, None)}

    def finish(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Ask until it is done, as the framework does."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = app.is_complete(event, None)
            if answer["IsComplete"]:
                return answer
            time.sleep(0.05)
        raise TimeoutError("it is never done")

    def deploy(self, kind: str, request_id: str, *images: str, **more: Any) -> str:
        """Make or change the cache, and return the snapshot."""
        answer = self.finish(self.begin(kind, request_id, *images, **more))
        return str(answer["Data"]["SnapshotId"])

    def live_instances(self) -> list[str]:
        """Return the instances that cost something."""
        found = self.ec2.describe_instances(
            Filters=[{"Name": "instance-state-name", "Values": LIVE}]
        )
        return [
            instance["InstanceId"]
            for reservation in found["Reservations"]
            for instance in reservation["Instances"]
        ]

    def snapshots(self) -> dict[str, dict[str, str]]:
        """Return the tags of all snapshots."""
        found = self.ec2.describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return {
            each["SnapshotId"]: {tag["Key"]: tag["Value"] for tag in each.get("Tags", ())}
            for each in found
        }

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Wait for what happens on another thread."""
        deadline = time.monotonic() + 20
        while not is_so():
            assert time.monotonic() < deadline, "it never happens"
            time.sleep(0.02)

    def forget(self) -> None:
        """Make everything as it was at first."""
        from ministack.services import ec2

        for store in (ec2._instances, ec2._volumes, ec2._snapshots):
            store.clear()
        self.refusals.clear()
        self.launches.clear()
        self.snapshot_state = "completed"
        self.host.online, self.host.hangs, self.host.broken_images = True, False, ()
        for name in ("calls", "images"):
            (self.host.folder / name).unlink(missing_ok=True)


@contextmanager
def emulated(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """Run an account with a cache's state machines."""
    with Emulator() as emulator:
        for name, value in {
            "AWS_ENDPOINT_URL": emulator.access.endpoint_url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }.items():
            patch.setenv(name, value)
        host = Host(folder)
        (folder / "apiclient").write_text(_APICLIENT)
        (folder / "apiclient").chmod(0o755)
        world = World(host)
        _patch_emulator(world, patch)
        _deploy(world)
        patch.setenv(protocol.STATE_MACHINE_VARIABLE, world.build_arn)
        patch.setattr(app, "_SETTLING_SECONDS", 0.2)
        yield world


def _deploy(world: World) -> None:
    cloudformation = boto3.client("cloudformation")
    cloudformation.create_stack(
        StackName="Stack",
        TemplateBody=json.dumps(deployable(template(IMAGE))),
        Capabilities=["CAPABILITY_IAM"],
    )
    cloudformation.get_waiter("stack_create_complete").wait(
        StackName="Stack", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    (stack,) = cloudformation.describe_stacks(StackName="Stack")["Stacks"]
    outputs = {each["OutputKey"]: each["OutputValue"] for each in stack["Outputs"]}
    world.cache = outputs["Cache"]
    world.build_arn = outputs["Build"]
    world.cleanup_arn = outputs["Cleanup"]


def _patch_emulator(world: World, patch: pytest.MonkeyPatch) -> None:
    from ministack.services import ec2, stepfunctions

    patch.setattr(stepfunctions, "_SFN_WAIT_SCALE", 0.0005)
    _make_paths_strict(stepfunctions, patch)
    _leave_empty_lists_out(stepfunctions, patch)
    patch.setattr(
        ec2,
        "instance_is_managed",
        lambda id: world.host.online and ec2._instances[id]["State"]["Name"] == "running",
    )
    patch.setattr(ec2, "exec_in_instance_blocking", lambda id, argv: world.host.run(argv))
    for action, answer in list(ec2._ACTION_MAP.items()):
        patch.setitem(ec2._ACTION_MAP, action, _refusable(world, ec2, action, answer))
    run = ec2._ACTION_MAP["RunInstances"]
    patch.setitem(ec2._ACTION_MAP, "RunInstances", _with_disks(world, ec2, run))
    create = ec2._ACTION_MAP["CreateSnapshot"]

    def create_snapshot(request: Any) -> Any:
        before = set(ec2._snapshots)
        answer = create(request)
        for snapshot_id in set(ec2._snapshots) - before:
            ec2._snapshots[snapshot_id]["State"] = world.snapshot_state
        return answer

    patch.setitem(ec2._ACTION_MAP, "CreateSnapshot", create_snapshot)


def _refusable(world: World, ec2: Any, action: str, answer: Callable[..., Any]) -> Any:
    """Return an action that a test can make fail."""

    def refuse_or_answer(request: Any) -> Any:
        refuse = world.refusals.get(action)
        refusal = refuse({key: ec2._p(request, key) for key in request}) if refuse else None
        return answer(request) if refusal is None else ec2._error(refusal, f"{refusal}!", 400)

    return refuse_or_answer


def _with_disks(world: World, ec2: Any, run: Callable[..., Any]) -> Any:
    """Return RunInstances with the disks that the launch template names, and with its token."""
    launched: dict[str, Any] = {}

    def run_instances(request: Any) -> Any:
        world.launches.append({key: ec2._p(request, key) for key in request})
        token = ec2._p(request, "ClientToken")
        if token in launched:
            return launched[token]
        before = set(ec2._instances)
        answer = run(request)
        data, _, error = ec2._resolve_launch_template_data(
            {
                "LaunchTemplateId": ec2._p(request, "LaunchTemplate.LaunchTemplateId"),
                "Version": ec2._p(request, "LaunchTemplate.Version"),
            }
        )
        assert error is None
        for instance_id in set(ec2._instances) - before:
            launched[token] = answer
            (system,) = (
                each
                for each in list(ec2._volumes.values())
                if each["Attachments"] and each["Attachments"][0]["InstanceId"] == instance_id
            )
            for disk in data.get("BlockDeviceMappings", ()):
                if disk["DeviceName"] == system["Attachments"][0]["Device"]:
                    continue
                volume_id = ec2._new_volume_id()
                attachment = {
                    **system["Attachments"][0],
                    "VolumeId": volume_id,
                    "Device": disk["DeviceName"],
                }
                ec2._volumes[volume_id] = {
                    **system,
                    "VolumeId": volume_id,
                    "Size": disk["Ebs"]["VolumeSize"],
                    "Encrypted": disk["Ebs"]["Encrypted"],
                    "Attachments": [attachment],
                }
        return answer

    return run_instances


def _make_paths_strict(stepfunctions: Any, patch: pytest.MonkeyPatch) -> None:
    """Make a path that leads nowhere an error that nothing catches, as on AWS, save in a choice."""
    choosing = threading.local()
    matches = stepfunctions._error_matches

    def match(names: list[str], error: str) -> bool:
        return error != "States.Runtime" and bool(matches(names, error))

    resolve, evaluate = stepfunctions._resolve_path, stepfunctions._evaluate_rule

    def strict(path: str, data: Any) -> Any:
        found = resolve(path, data)
        # With nothing to go through, "[*]" leads nowhere, too.
        whole = found is not None and resolve(path.partition("[*]")[0], data) is not None
        if not whole and not getattr(choosing, "now", False):
            raise stepfunctions._ExecutionError("States.Runtime", path)
        return found

    def lenient(rule: Any, data: Any, context: Any = None) -> Any:
        choosing.now = True
        try:
            return evaluate(rule, data, context)
        finally:
            choosing.now = False

    patch.setattr(stepfunctions, "_error_matches", match)
    patch.setattr(stepfunctions, "_resolve_path", strict)
    patch.setattr(stepfunctions, "_evaluate_rule", lenient)


def _leave_empty_lists_out(stepfunctions: Any, patch: pytest.MonkeyPatch) -> None:
    """Answer with no list where it would be empty: AWS does not say which of the two it does."""
    call = stepfunctions._invoke_aws_sdk_integration

    def answer(resource: str, request: Any) -> Any:
        return {name: value for name, value in call(resource, request).items() if value != []}

    patch.setattr(stepfunctions, "_invoke_aws_sdk_integration", answer)
