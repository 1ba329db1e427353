"""Marks on resources by which the local service finds them in a template."""

from __future__ import annotations

from typing import cast

from aws_cdk import CfnResource
from constructs import IConstruct

from ..contract.template import METADATA_KEY


def mark(construct: IConstruct, kind: str) -> None:
    """Say in the template what a resource is.

    Args:
        construct: The resource, or a construct with one main resource.
        kind: One of the marks in `contract.template`.
    """
    cast("CfnResource", construct.node.default_child).add_metadata(METADATA_KEY, kind)
