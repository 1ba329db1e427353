"""The subnets of a cluster: chosen by a selection, and checked."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Annotations
from aws_cdk import aws_ec2 as ec2
from constructs import IConstruct

from .._validation import Faults, is_token

MIN_ZONES = 2
"""Zones that a cluster needs at least, to EKS and to Karpenter's two replicas."""

ISOLATED_WARNING = "cdk-stable-diffusion:isolated-subnets"

_PRIVATE = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)
_WANTED = f"private subnets, which reach the internet, in {MIN_ZONES} zones or more"


def select(vpc: ec2.IVpc, selection: ec2.SubnetSelection | None) -> tuple[ec2.ISubnet, ...]:
    """Return the subnets of a VPC that are selected.

    Args:
        vpc: The VPC.
        selection: Which ones; None selects private ones that reach the internet.
    """
    found = find(vpc, selection)
    if found.is_pending_lookup and not found.subnets:
        # Before its first look-up, a VPC has made-up subnets, and none by name or by zone.
        return tuple(vpc.private_subnets)
    return tuple(found.subnets)


def is_looked_up(vpc: ec2.IVpc) -> bool:
    """Tell whether a VPC is known: `cdk synth` synthesises once before its first look-up.

    Args:
        vpc: The VPC, looked up or not.
    """
    try:
        return not vpc.select_subnets().is_pending_lookup
    except RuntimeError:
        # It has none.
        return True


def check_subnets(faults: Faults, vpc: ec2.IVpc, selection: ec2.SubnetSelection | None) -> None:
    """Record what is wrong with a selection of a VPC's subnets.

    Args:
        faults: Where to record it.
        vpc: The user's VPC.
        selection: The user's selection.
    """
    does = "vpc has" if selection is None else "subnets selects"
    try:
        found = find(vpc, selection)
    except RuntimeError as refusal:
        # AWS CDK says what it misses, after the name of its error.
        faults.check(False, f"{does} none, {_reason(refusal)}: {_WANTED}")
        return
    if found.is_pending_lookup:
        # A refusal would keep `cdk synth` from ever looking it up.
        return
    chosen = found.subnets
    zones = {subnet.availability_zone for subnet in chosen}
    faults.check(bool(chosen), f"{does} none: {_WANTED}")
    faults.check(
        not chosen or len(zones) >= MIN_ZONES or any(map(is_token, zones)),
        f"{does} subnets in one zone: {_WANTED}",
    )
    public = {subnet.node.path for subnet in vpc.public_subnets}
    paths = [subnet.node.path for subnet in chosen if subnet.node.path in public]
    faults.check(not paths, f"{does} public subnets, {', '.join(paths)}: {_WANTED}")


def warn_of_isolated_subnets(
    scope: IConstruct, vpc: ec2.IVpc, subnets: Sequence[ec2.ISubnet]
) -> None:
    """Warn of nodes in subnets that do not reach the internet, as far as AWS CDK knows.

    Args:
        scope: Where to warn.
        vpc: The VPC.
        subnets: The subnets of the nodes.
    """
    isolated = {subnet.node.path for subnet in vpc.isolated_subnets}
    paths = [subnet.node.path for subnet in subnets if subnet.node.path in isolated]
    if paths:
        Annotations.of(scope).add_warning_v2(
            ISOLATED_WARNING,
            f"subnets selects isolated subnets, {', '.join(paths)}: their nodes need routes to "
            "services of AWS, and to the public registries of Karpenter and KEDA",
        )


def one_per_zone(subnets: Sequence[ec2.ISubnet]) -> list[ec2.ISubnet]:
    """Return the first subnet in each zone.

    Args:
        subnets: The subnets.
    """
    first: dict[str, ec2.ISubnet] = {}
    for subnet in subnets:
        first.setdefault(subnet.availability_zone, subnet)
    return list(first.values())


def find(vpc: ec2.IVpc, selection: ec2.SubnetSelection | None) -> ec2.SelectedSubnets:
    """Return what a selection finds in a VPC.

    Args:
        vpc: The VPC.
        selection: The selection. Default: private subnets, which reach the internet.
    """
    chosen = selection or _PRIVATE
    return vpc.select_subnets(
        availability_zones=chosen.availability_zones,
        one_per_az=chosen.one_per_az,
        subnet_filters=chosen.subnet_filters,
        subnet_group_name=chosen.subnet_group_name,
        subnets=chosen.subnets,
        subnet_type=chosen.subnet_type,
    )


def _reason(refusal: RuntimeError) -> str:
    text = str(refusal).partition("\n")[0]
    return text.partition(": ")[2] or text
