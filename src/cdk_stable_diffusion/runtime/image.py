"""The container image of a runtime."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aws_cdk import IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from .._validation import Faults, is_token

_PACKAGE = Path(__file__).resolve().parent.parent
_DOCKERFILE = "runtime_image/Dockerfile"

_BUILD_CONTEXT_EXCLUDES = (
    "*",
    "!__init__.py",
    "!contract",
    "!runtime_image",
    "**/__pycache__",
    "**/*.pyc",
)
"""The image holds the agent, the engine and the contract: a change elsewhere is no new image."""


@dataclass(frozen=True, slots=True)
class RuntimeImage:
    """The container image of a runtime; made by one of its factories.

    Attributes:
        uri: Where the image is, or None to build it.
    """

    uri: str | None

    @classmethod
    def from_package(cls) -> RuntimeImage:
        """Build the image from this package, and publish it with the app's assets.

        `cdk synth` needs no docker for it; `cdk deploy` does.

        Returns:
            The choice.
        """
        return cls(None)

    @classmethod
    def from_registry(cls, uri: str) -> RuntimeImage:
        """Use a published image.

        Args:
            uri: The image, best by digest: ``registry/name@sha256:...``. A tag that moves gives
                pods of one runtime different images.

        Returns:
            The choice.

        Raises:
            ValueError: If it is no image's name.
        """
        faults = Faults()
        allowed = "registry/name:tag or registry/name@digest, without a scheme"
        if faults.check_type("uri", uri, str, allowed, tokens=True):
            faults.check(
                is_token(uri)
                or (bool(uri) and not any(c.isspace() for c in uri) and "://" not in uri),
                f"uri is {uri!r}: {allowed}",
            )
        faults.raise_if_any("RuntimeImage.from_registry")
        return cls(uri)

    def _bind(self, scope: Construct) -> str:
        """Return where the image is, publishing it if need be.

        Args:
            scope: Construct that owns the published image.
        """
        if self.uri is not None:
            return self.uri
        asset = ecr_assets.DockerImageAsset(
            scope,
            "Image",
            directory=str(_PACKAGE),
            file=_DOCKERFILE,
            # GPU instances are x86-64, whatever the machine that builds.
            platform=ecr_assets.Platform.LINUX_AMD64,
            exclude=list(_BUILD_CONTEXT_EXCLUDES),
            ignore_mode=IgnoreMode.DOCKER,
        )
        return asset.image_uri
