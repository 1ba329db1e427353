"""How a finding of cdk-nag is acknowledged beside the resource that causes it."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Validations
from constructs import IConstruct


def acknowledge(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Acknowledge findings on a construct and what is in it.

    Only for what holds for every user of the construct; all else is repaired, or left for the user
    to judge.

    Args:
        construct: Where the findings are.
        reasons: Identifier of each finding, with the reason.
    """
    Validations.of(construct).acknowledge(
        *(Acknowledgment(id=id, reason=reason) for id, reason in reasons.items())
    )
