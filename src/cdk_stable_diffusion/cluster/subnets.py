"""The subnets of a cluster: chosen by a selection, and checked."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import aws_ec2 as ec2

from .._validation import Faults, is_token

MIN_ZONES = 2
"""Zones that a cluster needs at least, to EKS and to Karpenter's two replicas."""

_PRIVATE = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
_WANTED = f"private subnets, which reach the internet, in {MIN_ZONES} zones or more"


def select(vpc: ec2.IVpc, selection: ec2.SubnetSelection | None) -> tuple[ec2.ISubnet, ...]:
    """Return the subnets of a VPC that are selected.

    Args:
        vpc: The VPC.
        selection: Which ones; None selects private ones that reach the internet.
    """
    chosen = selection or _PRIVATE
    found = vpc.select_subnets(
        availability_zones=chosen.availability_zones,
        one_per_az=chosen.one_per_az,
        subnet_filters=chosen.subnet_filters,
        subnet_group_name=chosen.subnet_group_name,
        subnets=chosen.subnets,
        subnet_type=chosen.subnet_type,
    )
    return tuple(found.subnets)


def check_subnets(faults: Faults, vpc: ec2.IVpc, selection: ec2.SubnetSelection | None) -> None:
    """Record what is wrong with a selection of a VPC's subnets.

    Args:
        faults: Where to record it.
        vpc: The user's VPC.
        selection: The user's selection.
    """
    does = "vpc has" if selection is None else "subnets selects"
    try:
        chosen = select(vpc, selection)
    except RuntimeError as refusal:
        # AWS CDK says what it misses, after the name of its error.
        faults.check(False, f"{does} none, {_reason(refusal)}: {_WANTED}")
        return
    zones = {subnet.availability_zone for subnet in chosen}
    faults.check(bool(chosen), f"{does} none: {_WANTED}")
    faults.check(
        not chosen or len(zones) >= MIN_ZONES or any(map(is_token, zones)),
        f"{does} subnets in one zone: {_WANTED}",
    )
    public = {subnet.node.path for subnet in vpc.public_subnets}
    paths = [subnet.node.path for subnet in chosen if subnet.node.path in public]
    faults.check(not paths, f"{does} public subnets, {', '.join(paths)}: {_WANTED}")


def one_per_zone(subnets: Sequence[ec2.ISubnet]) -> list[ec2.ISubnet]:
    """Return the first subnet in each zone.

    Args:
        subnets: The subnets.
    """
    first: dict[str, ec2.ISubnet] = {}
    for subnet in subnets:
        first.setdefault(subnet.availability_zone, subnet)
    return list(first.values())


def _reason(refusal: RuntimeError) -> str:
    text = str(refusal).partition("\n")[0]
    return text.partition(": ")[2] or text
