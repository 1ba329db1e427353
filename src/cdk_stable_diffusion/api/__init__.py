"""The API: where a prompt comes in, and where results come out."""

from __future__ import annotations

from .grants import ApiGrants
from .result_queue import ResultQueue
from .routes import RouteRegistry, RuntimeRoutes
from .sd_api import SdApi
from .throttle import Quota, Throttle

__all__ = [
    "ApiGrants",
    "Quota",
    "ResultQueue",
    "RouteRegistry",
    "RuntimeRoutes",
    "SdApi",
    "Throttle",
]
