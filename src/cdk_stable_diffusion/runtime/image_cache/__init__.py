"""`ImageCache`: container images that are on a node's disk before the node starts."""

from __future__ import annotations

from .image_cache import ImageCache

__all__ = ["ImageCache"]
