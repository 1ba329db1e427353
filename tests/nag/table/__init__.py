"""Every wildcard in the IAM policies, and why AWS leaves no narrower way.

This is the one table: a wildcard that is not here fails a test, and so does a row that nothing
needs any more. The readers' page is written from it: ``python -m tests.nag.pages``.
"""

from __future__ import annotations

from collections.abc import Mapping

from .image_cache import IMAGE_CACHE
from .karpenter import KARPENTER
from .managed_policies import MANAGED_POLICIES
from .rows import ManagedPolicy, Wildcard
from .service import SERVICE

__all__ = ["DENIALS", "MANAGED_POLICIES", "WILDCARDS", "ManagedPolicy", "Wildcard"]

WILDCARDS: tuple[Wildcard, ...] = (*SERVICE, *KARPENTER, *IMAGE_CACHE)

DENIALS: Mapping[str, str] = {
    "s3:*": "{Api/OutputBucket}, {Api/ModelBucket}",
    "sqs:*": "every queue",
}
"""What is denied, to everyone and with every action, unless it comes over TLS: by action, where."""
