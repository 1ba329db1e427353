"""The functions behind the custom resource, against moto: what is built, taken, kept, deleted."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from cdk_stable_diffusion.image_cache_handler import app
from cdk_stable_diffusion.image_cache_handler.builds import BuildFailed
from cdk_stable_diffusion.image_cache_handler.protocol import (
    ASSET,
    CACHE_TAG,
    KEY_TAG,
    REGISTRY,
    STATE_MACHINE_VARIABLE,
)
from cdk_stable_diffusion.image_cache_handler.request import CacheRequest

CACHE = "cache-1"
IMAGE = "public.ecr.aws/a/b@sha256:" + "a" * 64
OTHER = "public.ecr.aws/a/b@sha256:" + "b" * 64
HASH = "f" * 64
START = datetime(2026, 1, 1, tzinfo=timezone.utc)

PROPERTIES: dict[str, Any] = {
    "Cache": CACHE,
    "Recipe": "1",
    "Images": [{"Uri": IMAGE, "Source": REGISTRY}],
    "Variant": "aws-k8s-1.35",
    "Version": "1.57.0",
    "Snapshotter": "overlayfs",
    "VolumeGibibytes": "60",
    "KeepVersions": "2",
    "LifetimeMinutes": "45",
}


class Account:
    """An account with a state machine that nothing runs, and the means to end its executions."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.ec2 = boto3.client("ec2")
        self.steps = boto3.client("stepfunctions")
        self._seconds = itertools.count()
        self.machine = self.steps.create_state_machine(
            name="machine",
            definition=json.dumps({"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}),
            roleArn="arn:aws:iam::123456789012:role/machine",
        )["stateMachineArn"]
        patch.setenv(STATE_MACHINE_VARIABLE, self.machine)

    def snapshot(self, key: str, *, cache: str = CACHE, state: str = "completed") -> str:
        volume = self.ec2.create_volume(Size=1, AvailabilityZone="us-east-1a")["VolumeId"]
        tags = [{"Key": CACHE_TAG, "Value": cache}, {"Key": KEY_TAG, "Value": key}]
        id: str = self.ec2.create_snapshot(
            VolumeId=volume, TagSpecifications=[{"ResourceType": "snapshot", "Tags": tags}]
        )["SnapshotId"]
        backend = _backend("ec2")
        backend.snapshots[id].status = state
        # Made one after the other, which a clock of whole seconds does not show.
        backend.snapshots[id].start_time = START + timedelta(seconds=next(self._seconds))
        return id

    def snapshots(self) -> set[str]:
        found = self.ec2.describe_snapshots(
            OwnerIds=["self"], Filters=[{"Name": "tag-key", "Values": [CACHE_TAG]}]
        )
        return {each["SnapshotId"] for each in found["Snapshots"]}

    def instance(self, cache: str = CACHE) -> str:
        tags = [{"Key": CACHE_TAG, "Value": cache}]
        id: str = self.ec2.run_instances(
            ImageId="ami-12345678",
            MinCount=1,
            MaxCount=1,
            TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
        )["Instances"][0]["InstanceId"]
        return id

    def state(self, instance_id: str) -> str:
        found = self.ec2.describe_instances(InstanceIds=[instance_id])
        state: str = found["Reservations"][0]["Instances"][0]["State"]["Name"]
        return state

    def executions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.steps.list_executions(stateMachineArn=self.machine)[
            "executions"
        ]
        return found

    def end(self, arn: str, status: str, **more: Any) -> None:
        (machine,) = _backend("stepfunctions").state_machines
        (execution,) = (each for each in machine.executions if each.execution_arn == arn)
        execution.status = status
        for name, value in more.items():
            setattr(execution, name, value)


def _backend(service: str) -> Any:
    from moto.backends import get_backend
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.core.base_backend import BackendDict

    backends: BackendDict[Any] = get_backend(service)
    return backends[DEFAULT_ACCOUNT_ID]["us-east-1"]


def _refuse(snapshot_id: str) -> None:
    from moto.ec2.exceptions import InvalidSnapshotInUse

    raise InvalidSnapshotInUse(snapshot_id, "ami-12345678")


@pytest.fixture(scope="module")
def aws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "MOTO_EC2_LOAD_DEFAULT_AMIS": "false",
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ENDPOINT_URL", raising=False)
        with mock_aws():
            yield


@pytest.fixture
def account(aws: None, monkeypatch: pytest.MonkeyPatch) -> Account:
    # An account of its own for each test would cost seconds.
    _backend("ec2").snapshots.clear()
    _backend("ec2").reservations.clear()
    _backend("stepfunctions").state_machines.clear()
    return Account(monkeypatch)


def event(
    kind: str = "Create", *, request_id: str = "request-1", **properties: Any
) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "RequestId": request_id,
        "ResourceProperties": {**PROPERTIES, **properties},
        **({"PhysicalResourceId": CACHE} if kind != "Create" else {}),
    }


def key(**properties: Any) -> str:
    return CacheRequest.from_properties({**PROPERTIES, **properties}).key()


def test_a_new_cache_is_built(account: Account) -> None:
    answer = app.on_event(event(), None)
    (execution,) = account.executions()
    assert answer == {
        "PhysicalResourceId": CACHE,
        "ExecutionArn": execution["executionArn"],
    }
    described = account.steps.describe_execution(executionArn=execution["executionArn"])
    work = json.loads(described["input"])
    assert work["Key"] == key()
    assert any(IMAGE in command for command in work["Commands"])
    assert "host shutdown -P +45" in "\n".join(work["Commands"])


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED"])
def test_a_request_that_is_repeated_builds_once(account: Account, status: str) -> None:
    first = app.on_event(event(), None)
    account.end(first["ExecutionArn"], status)
    assert app.on_event(event(), None) == first
    assert len(account.executions()) == 1


def test_another_request_is_another_build(account: Account) -> None:
    first = app.on_event(event(), None)
    account.end(first["ExecutionArn"], "FAILED")
    second = app.on_event(event("Update", request_id="request-2"), None)
    assert second["ExecutionArn"] != first["ExecutionArn"]
    assert second["PhysicalResourceId"] == first["PhysicalResourceId"]


def test_a_build_that_runs_is_waited_for(account: Account) -> None:
    begun = {**event(), **app.on_event(event(), None)}
    assert app.is_complete(begun, None) == {"IsComplete": False}


def test_a_build_that_is_done_gives_its_snapshot(account: Account) -> None:
    begun = {**event(), **app.on_event(event(), None)}
    snapshot = account.snapshot(key())
    account.end(begun["ExecutionArn"], "SUCCEEDED", output=json.dumps({"SnapshotId": snapshot}))
    assert app.is_complete(begun, None) == {
        "IsComplete": True,
        "Data": {"SnapshotId": snapshot},
    }


def test_a_build_that_failed_says_why(account: Account) -> None:
    begun = {**event(), **app.on_event(event(), None)}
    account.end(begun["ExecutionArn"], "FAILED", error="NotPulled", cause="no such image" * 1_000)
    with pytest.raises(BuildFailed) as failure:
        app.is_complete(begun, None)
    assert "FAILED: NotPulled: no such image" in str(failure.value)
    assert begun["ExecutionArn"] in str(failure.value)
    # CloudFormation takes no longer reason.
    assert len(str(failure.value)) < 4_000


def test_a_snapshot_made_from_the_same_is_taken(account: Account) -> None:
    account.snapshot(key())
    newest = account.snapshot(key())
    answer = app.on_event(event("Update"), None)
    assert answer == {"PhysicalResourceId": CACHE, "Data": {"SnapshotId": newest}}
    assert account.executions() == []


@pytest.mark.parametrize(
    "other",
    [
        {"key": "another"},
        {"cache": "another"},
        {"state": "pending"},
        {"state": "error"},
    ],
)
def test_no_other_snapshot_is(account: Account, other: dict[str, str]) -> None:
    account.snapshot(**{"key": key(), **other})
    assert "ExecutionArn" in app.on_event(event(), None)


@pytest.mark.parametrize(
    "changed",
    [
        {"Images": [{"Uri": OTHER, "Source": REGISTRY}]},
        {"Images": [*PROPERTIES["Images"], {"Uri": OTHER, "Source": REGISTRY}]},
        {"Recipe": "2"},
        {"Variant": "aws-k8s-1.36"},
        {"Version": "1.58.0"},
        {"Snapshotter": "soci"},
        {"VolumeGibibytes": "61"},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_key_changes_with_what_a_snapshot_is_made_from(changed: dict[str, Any]) -> None:
    assert key(**changed) != key()


@pytest.mark.parametrize(
    "changed",
    [
        {"KeepVersions": "3"},
        {"LifetimeMinutes": "50"},
        {"Images": PROPERTIES["Images"] * 2},
        {"Images": [{"Uri": IMAGE.replace("@", ":v1@"), "Source": REGISTRY}]},
        {"ServiceToken": "arn:aws:lambda:us-east-1:123456789012:function:another"},
    ],
    ids=["keep", "lifetime", "twice", "tag", "token"],
)
def test_and_with_nothing_else(changed: dict[str, Any]) -> None:
    assert key(**changed) == key()


def test_the_order_of_images_makes_no_difference() -> None:
    images = [{"Uri": each, "Source": REGISTRY} for each in (IMAGE, OTHER)]
    assert key(Images=images) == key(Images=images[::-1])


def test_a_tag_is_refused_with_the_reason(account: Account) -> None:
    tagged = [{"Uri": "public.ecr.aws/a/b:latest", "Source": REGISTRY}]
    with pytest.raises(ValueError, match=r"which can move.*Name it by digest"):
        app.on_event(event(Images=tagged), None)
    assert account.executions() == []


def test_the_tag_of_an_asset_is_a_hash_of_its_content(account: Account) -> None:
    image = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/assets:{HASH}"
    app.on_event(event(Images=[{"Uri": image, "Source": ASSET}]), None)
    assert len(account.executions()) == 1


def test_a_name_with_a_command_in_it_is_refused(account: Account) -> None:
    hacked = [{"Uri": f"{IMAGE};reboot", "Source": ASSET}]
    with pytest.raises(ValueError, match="is no image"):
        app.on_event(event(Images=hacked), None)
    assert account.executions() == []


class TestPruning:
    """What remains once a cache holds what it should."""

    def complete(self, account: Account, in_use: str, **more: Any) -> set[str]:
        begun = {
            **event("Update", **more.pop("properties", {})),
            "Data": {"SnapshotId": in_use},
            **more,
        }
        assert app.is_complete(begun, None)["Data"] == {"SnapshotId": in_use}
        return account.snapshots()

    def test_the_newest_remain(self, account: Account) -> None:
        _, second, third = (account.snapshot(each) for each in ("a", "b", "c"))
        assert self.complete(account, third) == {second, third}

    def test_more_remain_if_asked_for(self, account: Account) -> None:
        all_of_them = [account.snapshot(each) for each in ("a", "b", "c")]
        kept = self.complete(account, all_of_them[-1], properties={"KeepVersions": "3"})
        assert kept == set(all_of_them)

    def test_what_a_rollback_needs_remains_however_old(self, account: Account) -> None:
        old, _, newest = (account.snapshot(each) for each in (key(), "b", "c"))
        assert self.complete(account, newest, OldResourceProperties=PROPERTIES) == {old, newest}

    def test_what_is_in_use_remains_however_old(self, account: Account) -> None:
        old, _, newest = (account.snapshot(each) for each in ("a", "b", "c"))
        assert self.complete(account, old) == {old, newest}

    def test_a_second_one_made_from_the_same_goes(self, account: Account) -> None:
        other, double, newest = (account.snapshot(each) for each in ("a", "b", "b"))
        assert self.complete(account, newest) == {other, newest}
        assert double not in account.snapshots()

    def test_a_broken_one_goes_and_one_in_the_making_remains(self, account: Account) -> None:
        account.snapshot("a", state="error")
        pending = account.snapshot("b", state="pending")
        newest = account.snapshot("c")
        assert self.complete(account, newest) == {pending, newest}

    def test_another_caches_remain(self, account: Account) -> None:
        others = {account.snapshot(each, cache="another") for each in ("a", "b", "c")}
        newest = account.snapshot("a")
        assert self.complete(account, newest) == {newest, *others}

    def test_old_properties_that_nobody_can_read_are_no_obstacle(self, account: Account) -> None:
        newest = account.snapshot("a")
        assert self.complete(account, newest, OldResourceProperties={"Cache": 1}) == {newest}

    def test_a_refused_deletion_does_not_fail_the_deployment(self, account: Account) -> None:
        snapshots = [account.snapshot(each) for each in ("a", "b", "c")]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_backend("ec2"), "delete_snapshot", _refuse)
            assert self.complete(account, snapshots[-1]) == set(snapshots)


class TestDeletion:
    """What remains of a cache that is deleted."""

    def delete(self, **more: Any) -> bool:
        begun = {**event("Delete", request_id="request-9"), **more}
        answer = app.on_event(begun, None)
        assert answer["PhysicalResourceId"] == CACHE
        done: bool = app.is_complete({**begun, **answer}, None)["IsComplete"]
        return done

    def test_nothing_is_left(self, account: Account) -> None:
        snapshots = [account.snapshot("a"), account.snapshot("b", state="pending")]
        instance = account.instance()
        # It looks once more after it has found something.
        assert not self.delete()
        assert self.delete()
        assert account.snapshots().isdisjoint(snapshots)
        assert account.state(instance) == "terminated"

    def test_another_caches_things_are(self, account: Account) -> None:
        snapshot, instance = account.snapshot("a", cache="another"), account.instance("another")
        assert self.delete()
        assert account.snapshots() == {snapshot}
        assert account.state(instance) == "running"

    def test_a_build_is_stopped_and_then_given_time(self, account: Account) -> None:
        app.on_event(event(), None)
        assert not self.delete()
        assert [each["status"] for each in account.executions()] == ["ABORTED"]
        # It is deleted even if what it was asked to hold was never right.
        assert self.delete(ResourceProperties={"Cache": CACHE, "Images": "wrong"})

    def test_a_creation_that_is_cancelled_leaves_nothing(self, account: Account) -> None:
        """CloudFormation knows no identifier yet then, and sends one that it makes up."""
        app.on_event(event(), None)
        snapshot, instance = account.snapshot("a"), account.instance()
        begun = {**event("Delete"), "PhysicalResourceId": "Stack-Snapshot-1ABCDEF2GHIJK"}
        answer = app.on_event(begun, None)
        assert answer["PhysicalResourceId"] == begun["PhysicalResourceId"]
        assert not app.is_complete({**begun, **answer}, None)["IsComplete"]
        assert snapshot not in account.snapshots()
        assert account.state(instance) == "terminated"

    def test_a_snapshot_in_the_making_is_waited_for(self, account: Account) -> None:
        pending = account.snapshot("a", state="pending")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_backend("ec2"), "delete_snapshot", _refuse)
            assert not self.delete()
        assert account.snapshots() == {pending}

    def test_a_snapshot_that_something_else_needs_is_reported(self, account: Account) -> None:
        account.snapshot("a")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_backend("ec2"), "delete_snapshot", _refuse)
            with pytest.raises(ClientError, match="is currently in use by ami-12345678"):
                self.delete()

    def test_it_can_be_repeated(self, account: Account) -> None:
        assert self.delete()
        assert self.delete()
