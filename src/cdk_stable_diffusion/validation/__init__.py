"""The check of Kubernetes manifests at synthesis: `SdValidation`."""

from __future__ import annotations

from .plugin import SdValidation

__all__ = ["SdValidation"]
