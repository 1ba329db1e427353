"""Names of container images, checked so strictly that they may stand in a shell script."""

from __future__ import annotations

import re
from dataclasses import dataclass

_MAX_CHARACTERS = 512
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
COMPONENT = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_REFERENCE = re.compile(
    rf"(?P<host>{LABEL}(?:\.{LABEL})+(?::[0-9]{{1,5}})?)"
    rf"/(?P<path>{COMPONENT}(?:/{COMPONENT})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?"
    r"(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
    re.ASCII,
)
_DOCKER_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


@dataclass(frozen=True, kw_only=True, slots=True)
class ImageReference:
    """The name of a container image.

    Attributes:
        host: The registry, such as ``123456789012.dkr.ecr.eu-west-1.amazonaws.com``.
        path: The repository in it.
        tag: The tag, or None.
        digest: The digest, or None.
    """

    host: str
    path: str
    tag: str | None
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> ImageReference:
        """Read a name.

        Args:
            text: The name, with its registry.

        Returns:
            Its parts.

        Raises:
            ValueError: If it is no such name. Nothing that a shell gives a meaning to is one.
        """
        found = _REFERENCE.fullmatch(text) if len(text) <= _MAX_CHARACTERS else None
        if found is None:
            raise ValueError(
                f"{text[:_MAX_CHARACTERS]!r} is no image with its registry, such as "
                "public.ecr.aws/example/image@sha256:..."
            )
        return cls(**found.groupdict())

    def name(self) -> str:
        """Return the name under which containerd looks the image up.

        It drops a tag beside a digest, and spells images of Docker Hub out.
        """
        on_hub = self.host in _DOCKER_HUB
        host = "docker.io" if on_hub else self.host
        path = f"library/{self.path}" if on_hub and "/" not in self.path else self.path
        if self.digest is not None:
            return f"{host}/{path}@{self.digest}"
        return f"{host}/{path}:{self.tag or 'latest'}"
