"""The container image of a runtime."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import Annotations, IgnoreMode
from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from .._validation import Faults, is_token, shown
from .image_models import (
    ImageModel,
    build_contexts,
    directory_with_models,
    image_models,
    models_hash,
)
from .image_reference import IMAGE_SAYS, is_image_reference

_PACKAGE = Path(__file__).resolve().parent.parent
_DOCKERFILE = "runtime_image/Dockerfile"

_SHIPPED = ("__init__.py", "contract", "runtime_image")
"""The image holds the agent, the engine and the contract: a change elsewhere is no new image."""

_BUILD_CONTEXT_EXCLUDES = ("*", *(f"!{name}" for name in _SHIPPED), "**/__pycache__", "**/*.pyc")

IMAGE_BY_TAG_WARNING = "cdk-stable-diffusion:image-by-tag"


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnBuild:
    """A Dockerfile of the user's.

    Attributes:
        directory: Directory that Docker builds in.
        dockerfile: The Dockerfile, from that directory.
        arguments: Build arguments and their values.
    """

    directory: Path
    dockerfile: str
    arguments: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class RuntimeImage:
    """The container image of a runtime; made by one of its factories.

    Attributes:
        uri: Where the image is, or None to build it.
        models: Models that are built into it.
        own_build: The Dockerfile to build it from, or None for this package's own.
    """

    uri: str | None
    models: tuple[ImageModel, ...] = ()
    own_build: OwnBuild | None = None

    @property
    def model_bytes(self) -> int:
        """Bytes of the models that are built into it, which a node's disk needs room for."""
        return sum(model.size for model in self.models)

    @classmethod
    def from_package(cls, *, models: Mapping[str, str | Path] | None = None) -> RuntimeImage:
        """Build the image from this package, and publish it with the app's assets.

        `cdk synth` needs no docker for it; `cdk deploy` does.

        A model that travels in the image is on a node's disk as soon as the image is: with
        `ImageStart.snapshot`, before the node starts. A static runtime loads it from there, and
        neither downloads it nor needs it in the model bucket; where the bucket has a model of that
        name, too, the image's is used. A dynamic runtime goes by the bucket, and uses the image's
        files where they are the same.

        Args:
            models: Models that travel in the image: by their names, directories as diffusers'
                ``save_pretrained`` writes them, with weights in .safetensors files, or that hold
                one .safetensors file with the whole model. Docker reads them when it builds the
                image, so `cdk deploy` must run where they are. A new byte in them makes a new
                image. Default: none.

        Returns:
            The choice.

        Raises:
            ValueError: If a model has a wrong name, or its directory holds no pipeline, files
                that can run code, or symbolic links.
        """
        return cls(None, image_models("RuntimeImage.from_package", models))

    @classmethod
    def from_registry(cls, uri: str) -> RuntimeImage:
        """Use a published image.

        Args:
            uri: The image by digest: ``registry/name@sha256:...``. A tag is taken with a warning:
                one that moves gives pods of one runtime different images, and no deployment
                notices.

        Returns:
            The choice.

        Raises:
            ValueError: If it is no image's name.
        """
        faults = Faults()
        if faults.check_type("uri", uri, str, IMAGE_SAYS, tokens=True):
            faults.check(
                is_token(uri) or is_image_reference(uri), f"uri is {shown(uri)}: {IMAGE_SAYS}"
            )
        faults.raise_if_any("RuntimeImage.from_registry")
        return cls(uri)

    @classmethod
    def from_directory(
        cls,
        path: str | Path,
        *,
        dockerfile: str = "Dockerfile",
        build_arguments: Mapping[str, str] | None = None,
    ) -> RuntimeImage:
        """Build an image from your own Dockerfile, and publish it with the app's assets.

        Pods run its entry point as user 10001 on a read-only root, with ``/tmp`` and the model
        cache to write to. It must be the agent, or do as the agent does with the ``SD_`` variables
        and the probes: best add to an image that was built from this package, and keep its
        entry point.

        Args:
            path: Directory that Docker builds in. Its ``.dockerignore`` is kept to.
            dockerfile: The Dockerfile, from that directory. Default: ``Dockerfile``.
            build_arguments: Values for ``ARG`` by name. They can be read out of the image: no place
                for secrets. Default: none.

        Returns:
            The choice.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        faults = Faults()
        hint = "a directory, such as 'images/agent'"
        is_path = faults.check_type("path", path, (str, Path), hint)
        if is_path and is_token(path):
            faults.check(False, "path is a token: it must be known at synthesis")
            is_path = False
        is_directory = is_path and Path(path).is_dir()
        faults.check(
            is_directory or not is_path, f"path is {str(path)!r}: not a directory that exists"
        )
        hint = "a file in that directory, such as 'Dockerfile'"
        if faults.check_type("dockerfile", dockerfile, str, hint) and is_directory:
            faults.check(
                bool(dockerfile) and (Path(path) / dockerfile).is_file(),
                f"dockerfile is {dockerfile!r}: there is no such file in {str(path)!r}",
            )
        hint = "text by name, such as {'TORCH': '2.9'}"
        if faults.check_type("build_arguments", build_arguments, Mapping, hint, optional=True):
            for name, value in (build_arguments or {}).items():
                # The value is part of what tells one image from another at synthesis.
                known = isinstance(value, str) and not is_token(value)
                faults.check(known, f"build_arguments[{name!r}] is {shown(value)}: text")
        faults.raise_if_any("RuntimeImage.from_directory")
        build = OwnBuild(
            directory=Path(path).resolve(),
            dockerfile=dockerfile,
            arguments=tuple(sorted((build_arguments or {}).items())),
        )
        return cls(None, own_build=build)

    def _bind(self, scope: Construct) -> str:
        """Return where the image is, publishing it if need be.

        Args:
            scope: Construct that owns the published image.
        """
        if self.uri is not None:
            _warn_of_tag(scope, self.uri)
            return self.uri
        if self.own_build is not None:
            return ecr_assets.DockerImageAsset(
                scope,
                "Image",
                directory=str(self.own_build.directory),
                file=self.own_build.dockerfile,
                build_args=dict(self.own_build.arguments),
                # GPU instances are x86-64, whatever the machine that builds.
                platform=ecr_assets.Platform.LINUX_AMD64,
                ignore_mode=IgnoreMode.DOCKER,
            ).image_uri
        asset = ecr_assets.DockerImageAsset(
            scope,
            "Image",
            directory=str(self._directory(scope)),
            file=_DOCKERFILE,
            platform=ecr_assets.Platform.LINUX_AMD64,
            exclude=list(_BUILD_CONTEXT_EXCLUDES),
            ignore_mode=IgnoreMode.DOCKER,
            build_contexts=build_contexts(self.models) if self.models else None,
            extra_hash=models_hash(self.models) if self.models else None,
            # Where a model lies differs between machines; what lies there is in the extra hash.
            invalidation=ecr_assets.DockerImageAssetInvalidationOptions(build_contexts=False),
        )
        return asset.image_uri

    def _directory(self, scope: Construct) -> Path:
        """Return what the image is built from."""
        if not self.models:
            return _PACKAGE
        return directory_with_models(
            _PACKAGE,
            shipped=_SHIPPED,
            dockerfile=_DOCKERFILE,
            models=self.models,
            # `cdk synth --no-staging` refers to the directory instead of copying it at once.
            kept=bool(scope.node.try_get_context("aws:cdk:disable-asset-staging")),
        )


def _warn_of_tag(scope: Construct, uri: str) -> None:
    if not is_token(uri) and "@" not in uri:
        Annotations.of(scope).add_warning_v2(
            IMAGE_BY_TAG_WARNING,
            f"image {uri!r} has no digest: when its tag moves, new pods run another image than old "
            "ones, and no deployment notices; name it as registry/name@sha256:...",
        )
