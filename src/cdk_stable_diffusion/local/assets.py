"""Put file assets where CloudFormation looks for them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .assembly import FileAsset

_EPOCH = (1980, 1, 1, 0, 0, 0)


def upload_assets(s3: Any, assets: Iterable[FileAsset], *, needed_by: str) -> None:
    """Upload the assets that a template mentions.

    Args:
        s3: S3 client.
        assets: The assets of the template's stack.
        needed_by: The template as text: what it does not name is not uploaded.
    """
    for asset in assets:
        if asset.key not in needed_by:
            continue
        body = _zipped(asset.path) if asset.is_directory else asset.path.read_bytes()
        s3.put_object(Bucket=asset.bucket, Key=asset.key, Body=body)


def _zipped(directory: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(directory.rglob("*")):
            if path.is_file():
                entry = zipfile.ZipInfo(path.relative_to(directory).as_posix(), _EPOCH)
                entry.compress_type = zipfile.ZIP_DEFLATED
                entry.external_attr = (path.stat().st_mode & 0xFFFF) << 16
                archive.writestr(entry, path.read_bytes())
    return buffer.getvalue()
