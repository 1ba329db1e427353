"""Takes out of a template what changes when no infrastructure changes."""

from __future__ import annotations

import json
import re
from typing import Any

ASSET_HASH = re.compile(r"[0-9a-f]{64}")
# Logical ids of layers, function versions and the like end in a digest of their content.
SCRUBBED = "<asset>"


def without_hashes(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template without the hashes of its assets."""
    scrubbed: dict[str, Any] = json.loads(ASSET_HASH.sub(SCRUBBED, json.dumps(template)))
    return scrubbed
