"""Whether everything that the service needs on this machine is installed."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from .errors import LocalError

_NEEDED = ("aws_cdk", "boto3", "diffusers", "ministack", "PIL", "rich", "torch", "transformers")


def version() -> str:
    """Return the version of this package."""
    try:
        return metadata.version("cdk-stable-diffusion")
    except metadata.PackageNotFoundError:
        return "unknown (not installed)"


def check_installation() -> None:
    """Refuse to start what could not work.

    Raises:
        LocalError: Naming every package that is missing.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise LocalError(
            f"not installed: {', '.join(missing)}; pip install 'cdk-stable-diffusion[local]'"
        )
