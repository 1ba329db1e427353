"""What is wrong with the arguments of a cluster."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_kms as kms

from .._validation import A_WHOLE_NUMBER, Faults
from .addon import Addon
from .compute import Compute
from .endpoint import ClusterEndpoint
from .recommended_addons import check_addons
from .subnets import MIN_ZONES, check_subnets
from .vpc_endpoints import VpcEndpoints

_MIN_SYSTEM_NODES = 2
_MAX_SYSTEM_NODES = 10
_MAX_ZONES = 6
_ACCELERATED = re.compile(r"(g\d|p\d|inf\d|trn\d|dl\d)")
_SMALL = ("nano", "micro", "small")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterArguments:
    """The arguments of an `SdEksCluster`, which describes them."""

    compute: Compute | None
    vpc: ec2.IVpc | None
    subnets: ec2.SubnetSelection | None
    availability_zones: int | None
    nat_gateways: int | None
    vpc_endpoints: VpcEndpoints | None
    endpoint_access: ClusterEndpoint | None
    secrets_encryption_key: kms.IKey | None
    system_instance_type: ec2.InstanceType | None
    system_node_count: int | None
    addons: Sequence[Addon] | None

    def check(self, where: str) -> None:
        """Check them.

        Args:
            where: The construct.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        faults = Faults()
        hint = "a Compute, such as Compute.auto_mode()"
        is_compute = faults.check_type("compute", self.compute, Compute, hint, optional=True)
        is_auto_mode = is_compute and self.compute is not None and self.compute.is_auto_mode
        self._check_zones(faults)
        self._check_vpc(faults)
        faults.check_type(
            "endpoint_access",
            self.endpoint_access,
            ClusterEndpoint,
            "a ClusterEndpoint, such as ClusterEndpoint.private()",
            optional=True,
        )
        faults.check_has(
            "secrets_encryption_key",
            self.secrets_encryption_key,
            "key_arn",
            "a key, such as a kms.Key or kms.Key.from_key_arn(...)",
            optional=True,
        )
        self._check_system_nodes(faults, is_auto_mode=is_auto_mode)
        check_addons(faults, self.addons, is_auto_mode=is_auto_mode, has_recommended=True)
        faults.raise_if_any(where)

    def _check_zones(self, faults: Faults) -> None:
        zones, gateways = self.availability_zones, self.nat_gateways
        # The most gateways that there may be once the number of zones is right.
        most_gateways = MIN_ZONES if zones is None else _MAX_ZONES
        if faults.check_type("availability_zones", zones, int, A_WHOLE_NUMBER, optional=True):
            assert zones is not None
            faults.check(
                MIN_ZONES <= zones <= _MAX_ZONES,
                f"availability_zones is {zones}: {MIN_ZONES} to {_MAX_ZONES}",
            )
            most_gateways = min(max(zones, MIN_ZONES), _MAX_ZONES)
        if faults.check_type("nat_gateways", gateways, int, A_WHOLE_NUMBER, optional=True):
            assert gateways is not None
            faults.check(
                1 <= gateways <= most_gateways,
                f"nat_gateways is {gateways}: 1 to the number of zones, {most_gateways}",
            )

    def _check_vpc(self, faults: Faults) -> None:
        for name, value in (
            ("availability_zones", self.availability_zones),
            ("nat_gateways", self.nat_gateways),
        ):
            faults.check(
                self.vpc is None or value is None,
                f"{name} is {value}, but vpc is given: {name} shapes only a new VPC",
            )
        is_endpoints = faults.check_type(
            "vpc_endpoints",
            self.vpc_endpoints,
            VpcEndpoints,
            "a VpcEndpoints, such as VpcEndpoints.s3()",
            optional=True,
        )
        hint = "an ec2.SubnetSelection"
        is_selection = self.subnets is None or faults.check_type(
            "subnets", self.subnets, ec2.SubnetSelection, hint
        )
        hint = "a VPC, such as an ec2.Vpc"
        if not faults.check_has("vpc", self.vpc, "private_subnets", hint, optional=True):
            faults.check(
                self.subnets is None or self.vpc is not None,
                "subnets is given without vpc: it selects subnets of your own VPC",
            )
            return
        assert self.vpc is not None
        if is_selection:
            check_subnets(faults, self.vpc, self.subnets)
        if is_endpoints and self.vpc_endpoints is not None:
            faults.check(
                not self.vpc_endpoints.s3_gateway or _knows_its_routes(self.vpc),
                "vpc does not know its route tables, which its endpoint for S3 is put into: give "
                "private_subnet_route_table_ids where the VPC is imported",
            )
            faults.check(
                not self.vpc_endpoints.interfaces or _knows_its_addresses(self.vpc),
                "vpc does not know its addresses, which its endpoints of AWS services are opened "
                "to: give vpc_cidr_block where the VPC is imported",
            )

    def _check_system_nodes(self, faults: Faults, *, is_auto_mode: bool) -> None:
        kind, count = self.system_instance_type, self.system_node_count
        for name, value in (("system_instance_type", kind), ("system_node_count", count)):
            faults.check(
                value is None or not is_auto_mode,
                f"{name} is given: EKS Auto Mode chooses the nodes of the system's pods",
            )
        if faults.check_type(
            "system_instance_type",
            kind,
            ec2.InstanceType,
            "an InstanceType, such as ec2.InstanceType('m7g.large')",
            optional=True,
        ):
            assert kind is not None
            text = kind.to_string()
            faults.check(
                _has_size(kind), f"system_instance_type is {text}: with its size, such as m7g.large"
            )
            faults.check(
                not _ACCELERATED.match(text),
                f"system_instance_type is {text}: one without an accelerator, such as m7g.large",
            )
            faults.check(
                not _is_small(text),
                f"system_instance_type is {text}: large or larger, or medium of a family t",
            )
        if faults.check_type("system_node_count", count, int, A_WHOLE_NUMBER, optional=True):
            assert count is not None
            faults.check(
                _MIN_SYSTEM_NODES <= count <= _MAX_SYSTEM_NODES,
                f"system_node_count is {count}: {_MIN_SYSTEM_NODES} to {_MAX_SYSTEM_NODES}",
            )


def _is_small(kind: str) -> bool:
    family, _, size = kind.rpartition(".")
    # Of the medium ones, only those of the burstable families have 2 vCPU and 4 GiB.
    return size in _SMALL or (size == "medium" and not family.startswith("t"))


def _has_size(kind: ec2.InstanceType) -> bool:
    try:
        return bool(kind.architecture)
    except RuntimeError:
        return False


def _knows_its_addresses(vpc: ec2.IVpc) -> bool:
    try:
        return bool(vpc.vpc_cidr_block)
    except RuntimeError:
        return False


def _knows_its_routes(vpc: ec2.IVpc) -> bool:
    return any(map(_has_route_table, (*vpc.public_subnets, *vpc.private_subnets)))


def _has_route_table(subnet: ec2.ISubnet) -> bool:
    try:
        return bool(subnet.route_table.route_table_id)
    except RuntimeError:
        return False
