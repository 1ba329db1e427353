"""What a cache has in EC2, found by its tags: snapshots, and instances that build them."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from .protocol import CACHE_TAG, KEY_TAG

_logger = logging.getLogger(__name__)

# Also those that are about to go: what they were in cannot be deleted before.
_STATES = ["pending", "running", "stopping", "stopped", "shutting-down"]
_GONE = "InvalidSnapshot.NotFound"


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A snapshot of a cache.

    Attributes:
        id: Its identifier.
        key: Digest of what it was made from.
        state: "pending", "completed" or "error".
        started: When it was begun.
    """

    id: str
    key: str
    state: str
    started: datetime


@dataclass(frozen=True, slots=True)
class CacheResources:
    """What one cache has in EC2.

    Attributes:
        client: An EC2 client.
        cache: The cache.
    """

    client: Any
    cache: str

    def newest(self, key: str) -> str | None:
        """Return the newest complete snapshot that was made from the same, or None.

        Args:
            key: Digest of what it is made from.
        """
        return next(
            (
                each.id
                for each in self._snapshots()
                if each.key == key and each.state == "completed"
            ),
            None,
        )

    def prune(self, *, in_use: str, previous_key: str | None, keep: int) -> None:
        """Delete all snapshots but the newest versions.

        Nodes that run are not touched: a volume lives on without the snapshot it was made from.
        What cannot be deleted now is left for the next time, since the cache itself is well.

        Args:
            in_use: The snapshot that new nodes get from now on.
            previous_key: What the snapshot before it was made from, which a rollback needs.
            keep: How many to keep, these two included.
        """
        # The order of importance: sorting keeps the order of age among equals.
        ranked = sorted(
            (each for each in self._snapshots() if each.state != "pending"),
            key=lambda each: (each.id != in_use, each.key != previous_key),
        )
        kept: set[str] = set()
        for each in ranked:
            if each.state == "completed" and each.key not in kept and len(kept) < keep:
                kept.add(each.key)
                continue
            try:
                self._delete(each.id)
            except ClientError as error:
                _logger.warning("cannot delete %s: %s", each.id, error)

    def delete_snapshots(self) -> bool:
        """Delete all snapshots of the cache, also those in the making.

        Returns:
            Whether there was one.
        """
        snapshots = self._snapshots()
        for each in snapshots:
            try:
                self._delete(each.id)
            except ClientError as error:
                if each.state != "pending":
                    raise
                _logger.info("%s cannot be deleted yet: %s", each.id, error)
        return bool(snapshots)

    def terminate_builders(self) -> bool:
        """Terminate instances that still are there.

        Returns:
            Whether there was one.
        """
        pages = self.client.get_paginator("describe_instances").paginate(
            Filters=[
                *self._filters(),
                {"Name": "instance-state-name", "Values": _STATES},
            ]
        )
        found = [
            instance["InstanceId"]
            for page in pages
            for reservation in page["Reservations"]
            for instance in reservation["Instances"]
        ]
        if found:
            self.client.terminate_instances(InstanceIds=found)
        return bool(found)

    def _snapshots(self) -> list[Snapshot]:
        """Return the snapshots, the newest first."""
        pages = self.client.get_paginator("describe_snapshots").paginate(
            OwnerIds=["self"], Filters=self._filters()
        )
        found = [
            Snapshot(
                id=each["SnapshotId"],
                key=_tag(each.get("Tags", ()), KEY_TAG),
                state=each["State"],
                started=each["StartTime"],
            )
            for page in pages
            for each in page["Snapshots"]
        ]
        return sorted(found, key=lambda each: (each.started, each.id), reverse=True)

    def _delete(self, snapshot_id: str) -> None:
        try:
            self.client.delete_snapshot(SnapshotId=snapshot_id)
        except ClientError as error:
            if error.response["Error"]["Code"] != _GONE:
                raise

    def _filters(self) -> list[dict[str, Any]]:
        return [{"Name": f"tag:{CACHE_TAG}", "Values": [self.cache]}]


def _tag(tags: Iterable[dict[str, str]], key: str) -> str:
    return next((each["Value"] for each in tags if each["Key"] == key), "")
