"""Checks Kubernetes resources as `SdValidation` does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdk_stable_diffusion.validation import checker


def faults_of(resource: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a resource.

    Args:
        resource: The resource.
    """
    assert checker.is_known(resource), f"{resource['kind']} of {resource['apiVersion']}"
    return [str(fault) for fault in checker.faults_of(resource)]
