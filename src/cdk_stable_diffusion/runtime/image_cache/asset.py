"""The code of the cache's functions, as an asset that needs neither docker nor network."""

from __future__ import annotations

from pathlib import Path

from aws_cdk import AssetHashType, IgnoreMode
from aws_cdk import aws_lambda as lambda_

from ...api.asset import asset_hash

_PACKAGE = Path(__file__).resolve().parents[2]
_SHIPPED = "image_cache_handler"

ON_EVENT = f"{_SHIPPED}.app.on_event"
IS_COMPLETE = f"{_SHIPPED}.app.is_complete"


def handler_code() -> lambda_.Code:
    """Return the functions' code: one package of modules that know each other only."""
    return lambda_.Code.from_asset(
        str(_PACKAGE),
        exclude=["*", f"!{_SHIPPED}", "**/__pycache__", "**/*.pyc"],
        ignore_mode=IgnoreMode.DOCKER,
        asset_hash_type=AssetHashType.CUSTOM,
        asset_hash=asset_hash(handler_files()),
    )


def handler_files() -> dict[str, bytes]:
    """Return the asset's files: path inside the asset, and content."""
    return {
        path.relative_to(_PACKAGE).as_posix(): path.read_bytes()
        for path in sorted((_PACKAGE / _SHIPPED).rglob("*.py"))
    }
