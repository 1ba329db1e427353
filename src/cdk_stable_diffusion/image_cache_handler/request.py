"""What a cache is asked to hold: the properties of the custom resource, checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .protocol import ASSET
from .references import ImageReference


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheRequest:
    """What a cache must hold.

    Attributes:
        cache: The cache.
        recipe: How they are cached, as a number.
        images: Names of the images, as containerd knows them, sorted.
        variant: Variant of Bottlerocket that pulls them.
        version: Its version.
        snapshotter: Snapshotter of containerd that unpacks them.
        volume_gibibytes: Size of the volume.
        keep_versions: How many snapshots are kept.
        lifetime_minutes: How long the instance that builds lives at most.
    """

    cache: str
    recipe: int
    images: tuple[str, ...]
    variant: str
    version: str
    snapshotter: str
    volume_gibibytes: int
    keep_versions: int
    lifetime_minutes: int

    @classmethod
    def from_properties(cls, properties: Mapping[str, Any]) -> CacheRequest:
        """Read the properties of the custom resource.

        Args:
            properties: The properties. CloudFormation makes text of every number.

        Returns:
            What is asked for.

        Raises:
            ValueError: If an image has no allowed name, or its content could change.
        """
        return cls(
            cache=properties["Cache"],
            recipe=int(properties["Recipe"]),
            images=tuple(sorted({_pinned(each) for each in properties["Images"]})),
            variant=properties["Variant"],
            version=properties["Version"],
            snapshotter=properties["Snapshotter"],
            volume_gibibytes=int(properties["VolumeGibibytes"]),
            keep_versions=int(properties["KeepVersions"]),
            lifetime_minutes=int(properties["LifetimeMinutes"]),
        )

    def key(self) -> str:
        """Return a digest of everything that makes a difference in the snapshot."""
        made_from = {
            "recipe": self.recipe,
            "images": self.images,
            "variant": self.variant,
            "version": self.version,
            "snapshotter": self.snapshotter,
            "volume": self.volume_gibibytes,
        }
        return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()


def _pinned(image: Mapping[str, str]) -> str:
    reference = ImageReference.parse(image["Uri"])
    if reference.digest is None and image["Source"] != ASSET:
        raise ValueError(
            f"{image['Uri']!r} names an image by a tag, which can move: a snapshot of it would go "
            "stale unnoticed. Name it by digest, as in name@sha256:..."
        )
    return reference.name()
