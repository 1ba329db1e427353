"""The code of the API's Lambda function, as an asset.

The asset holds the packages `handler` and `contract` under their own names, so that imports are
the same there as here. Both need the standard library and boto3 only, which Lambda ships: there is
nothing to install, so no docker and no network are needed. The hash is made of names and contents,
so it is the same on every machine and for every way of installing this library.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
from functools import cache
from pathlib import Path

from aws_cdk import AssetHashType
from aws_cdk import aws_lambda as lambda_
from constructs import IConstruct

PACKAGE = Path(__file__).parent.parent
HANDLER = "cdk_stable_diffusion.handler.app.handler"
SHIPPED = ("contract", "handler")

_PACKAGE_INIT = '"""Stable Diffusion as a service: the part that runs in the API."""\n'


def handler_code(scope: IConstruct) -> lambda_.Code:
    """Return the function's code.

    Args:
        scope: Where it is used.
    """
    # The CDK copies the folder to the assembly at once, unless it is told to refer to it instead,
    # as `cdk synth --no-staging` does for debuggers.
    kept = bool(scope.node.try_get_context("aws:cdk:disable-asset-staging"))
    return lambda_.Code.from_asset(
        str(_folder(kept)),
        asset_hash_type=AssetHashType.CUSTOM,
        asset_hash=asset_hash(handler_files()),
    )


def handler_files(package: Path = PACKAGE) -> dict[str, bytes]:
    """Return the asset's files: path inside the asset, and content.

    Args:
        package: Folder of this library. Default: where it is installed.
    """
    sources = sorted(
        path.relative_to(package).as_posix()
        for part in SHIPPED
        for path in (package / part).rglob("*.py")
    )
    return {
        "cdk_stable_diffusion/__init__.py": _PACKAGE_INIT.encode(),
        **{f"cdk_stable_diffusion/{each}": (package / each).read_bytes() for each in sources},
    }


def asset_hash(files: dict[str, bytes]) -> str:
    """Return a hash of names and contents.

    Args:
        files: The files.
    """
    digest = hashlib.sha256()
    for name, content in sorted(files.items()):
        digest.update(f"{len(name)}:{name}:{len(content)}:".encode())
        digest.update(content)
    return digest.hexdigest()


@cache
def _folder(kept: bool) -> Path:
    """Write the files to a temporary folder, once a process."""
    folder = Path(tempfile.mkdtemp(prefix="cdk-stable-diffusion-"))
    if not kept:
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, content in handler_files().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o644)
    return folder
