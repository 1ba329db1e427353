"""Dashboard and alarms: `SdObservability`."""

from __future__ import annotations

from .observability import SdObservability

__all__ = ["SdObservability"]
