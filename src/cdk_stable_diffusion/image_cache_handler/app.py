"""Entries of the two functions: what the custom resource is asked to do, and whether it is done.

The physical identifier of the resource is the cache, whatever it holds: so an update never makes
CloudFormation delete what a rollback needs. A deletion does not go by it: where another resource
fails during the first build, CloudFormation deletes this one at once, and makes an identifier up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import boto3
from botocore.config import Config

from .builds import Builds
from .commands import pull_commands
from .protocol import STATE_MACHINE_VARIABLE
from .request import CacheRequest
from .resources import CacheResources

_CONFIG = Config(retries={"mode": "standard", "total_max_attempts": 8})

_SETTLING_SECONDS = 45
"""Longer than EC2 takes to show what a build made in the moment in which it was stopped."""


def on_event(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Begin what CloudFormation asks for; safe to repeat.

    Args:
        event: The request.
        context: Lambda's context.

    Returns:
        The physical identifier, and what `is_complete` needs.
    """
    if event["RequestType"] == "Delete":
        stopped = _builds().stop()
        return {
            "PhysicalResourceId": event["PhysicalResourceId"],
            "SettledAt": time.time() + _SETTLING_SECONDS if stopped else 0,
        }
    request = CacheRequest.from_properties(event["ResourceProperties"])
    answer: dict[str, Any] = {"PhysicalResourceId": request.cache}
    found = _resources(request.cache).newest(request.key())
    if found is not None:
        return {**answer, "Data": {"SnapshotId": found}}
    work = {
        "Key": request.key(),
        "Commands": pull_commands(request.images, lifetime_minutes=request.lifetime_minutes),
    }
    return {**answer, "ExecutionArn": _builds().start(event["RequestId"], work)}


def is_complete(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Tell whether it is done, and tidy up once it is.

    Args:
        event: The request, with what `on_event` returned.
        context: Lambda's context.

    Returns:
        Whether it is done, and then the snapshot.
    """
    if event["RequestType"] == "Delete":
        return {"IsComplete": _is_deleted(event)}
    snapshot_id = (event.get("Data") or {}).get("SnapshotId")
    if snapshot_id is None:
        snapshot_id = _builds().result(event["ExecutionArn"])
    if snapshot_id is None:
        return {"IsComplete": False}
    request = CacheRequest.from_properties(event["ResourceProperties"])
    _resources(request.cache).prune(
        in_use=snapshot_id, previous_key=_previous_key(event), keep=request.keep_versions
    )
    return {"IsComplete": True, "Data": {"SnapshotId": snapshot_id}}


def _is_deleted(event: Mapping[str, Any]) -> bool:
    resources = _resources(event["ResourceProperties"]["Cache"])
    # Both, whatever the first finds; and once more when either found something.
    found = [resources.terminate_builders(), resources.delete_snapshots()]
    return not any(found) and time.time() >= event["SettledAt"]


def _previous_key(event: Mapping[str, Any]) -> str | None:
    """Return the key before this update, if this version of the code can read it."""
    try:
        return CacheRequest.from_properties(event["OldResourceProperties"]).key()
    except (KeyError, TypeError, ValueError):
        return None


def _builds() -> Builds:
    return Builds(boto3.client("stepfunctions", config=_CONFIG), os.environ[STATE_MACHINE_VARIABLE])


def _resources(cache: str) -> CacheResources:
    return CacheResources(boto3.client("ec2", config=_CONFIG), cache)
