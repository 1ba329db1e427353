"""A cluster that is there already, and what of it runtimes use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, DependencyGroup, IDependable

from .._validation import Faults, shown
from .addon import Addon
from .addons import Addons
from .compute import Compute
from .existing_checks import check_cluster, check_compute, check_vpc
from .interface import AnyCluster
from .karpenter import Karpenter
from .keda import ANYWHERE, Keda
from .nodes import AutoModeNodeIdentity, GpuNodeIdentity
from .prepared import mark_prepared
from .recommended_addons import check_addons, recommended
from .runtime_cluster import RuntimeCluster
from .subnets import check_subnets, select, warn_of_isolated_subnets


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingKarpenter:
    """Karpenter as a cluster has it: of version 1.14 or later.

    Its controller must be allowed to pass the role to nodes.

    Attributes:
        node_role: Role of the nodes that it launches. The cluster must have an access entry for it.
        instance_profile: Instance profile with the role. Default: none; Karpenter makes one, if it
            may.
    """

    node_role: iam.IRole
    instance_profile: iam.IInstanceProfile | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: Naming every value that is wrong.
        """
        faults = Faults()
        faults.check_has("node_role", self.node_role, "role_arn", "a role, such as an iam.Role")
        faults.check_has(
            "instance_profile",
            self.instance_profile,
            "instance_profile_name",
            "an instance profile, such as an iam.InstanceProfile",
            optional=True,
        )
        faults.raise_if_any("ExistingKarpenter")


@dataclass(frozen=True, kw_only=True, slots=True)
class ExistingKeda:
    """KEDA as a cluster has it: of version 2.20 or later.

    Attributes:
        operator_role: Role of its operator, by EKS Pod Identity or by an annotation. Each runtime
            attaches a policy to it, to read the depth of its queue, so it must be a role of the
            same account.
    """

    operator_role: iam.IRole

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If the value is wrong.
        """
        faults = Faults()
        faults.check_has(
            "operator_role", self.operator_role, "role_arn", "a role, such as an iam.Role"
        )
        faults.raise_if_any("ExistingKeda")


class ExistingCluster(RuntimeCluster):
    """A cluster that this library did not make; `SdEksCluster.from_cluster` returns it.

    Attributes:
        addons: The add-ons that were missing, by name.
        karpenter: Karpenter; None where the cluster has it, and in Auto Mode.
        keda: KEDA; None where the cluster has it.
    """

    addons: dict[str, eks.CfnAddon]
    karpenter: Karpenter | None
    keda: Keda | None

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        vpc: ec2.IVpc,
        subnets: ec2.SubnetSelection | None = None,
        compute: Compute | None = None,
        karpenter: ExistingKarpenter | None = None,
        keda: ExistingKeda | None = None,
        addons: Sequence[Addon] | None = None,
        after: Sequence[IDependable] | None = None,
    ) -> None:
        """Prepare a cluster for runtimes.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: The cluster.
            vpc: Its network.
            subnets: Subnets of GPU nodes. Default: private ones, which reach the internet.
            compute: What launches GPU nodes. Default: `Compute.karpenter()`.
            karpenter: Karpenter that is there. Default: it is installed.
            keda: KEDA that is there. Default: it is installed.
            addons: Add-ons to install. Default: none.
            after: What must exist before charts can be installed. Default: all that is in
                `cluster`.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        _check(
            where=f"SdEksCluster.from_cluster {scope.node.path}/{id}",
            cluster=cluster,
            vpc=vpc,
            subnets=subnets,
            compute=compute,
            karpenter=karpenter,
            keda=keda,
            addons=addons,
            after=after,
        )
        super().__init__(scope, id)
        mark_prepared(cluster)
        self.cluster = cluster
        self.vpc = vpc
        self.compute = compute or Compute.karpenter()
        self.node_subnets = select(vpc, subnets)
        warn_of_isolated_subnets(self, vpc, self.node_subnets)
        self.addons = Addons(
            self,
            "Addons",
            cluster=cluster,
            addons=[recommended(addon) for addon in addons or ()],
            is_pinned=False,
        ).by_name
        ready = [*_there(cluster, after), *self.addons.values()]
        self._create_namespace(cluster, is_auto_mode=self.compute.is_auto_mode, after=ready)
        self._find_nodes(cluster, karpenter, ready)
        self._find_keda(cluster, keda, ready)

    def _find_nodes(
        self,
        cluster: AnyCluster,
        karpenter: ExistingKarpenter | None,
        ready: Sequence[IDependable],
    ) -> None:
        self.karpenter = None
        self.instance_profile = None
        if self.compute.is_auto_mode:
            nodes = AutoModeNodeIdentity(self, "GpuNodes", cluster=cluster)
            self.node_role = nodes.role
            self.before_nodes = (nodes.access_entry, *ready)
        elif karpenter is not None:
            self.node_role = karpenter.node_role
            self.instance_profile = karpenter.instance_profile
            self.before_nodes = tuple(ready)
        else:
            identity = GpuNodeIdentity(self, "GpuNodes", cluster=cluster)
            self.node_role = identity.role
            self.instance_profile = identity.instance_profile
            self.karpenter = Karpenter(
                self, "Karpenter", cluster=cluster, gpu_node_role=identity.role, after=ready
            )
            self.before_nodes = (self.karpenter.chart, identity.access_entry)

    def _find_keda(
        self, cluster: AnyCluster, keda: ExistingKeda | None, ready: Sequence[IDependable]
    ) -> None:
        if keda is not None:
            self.keda = None
            self.keda_operator_role = keda.operator_role
            self.before_scaling = (self.namespace_manifest, *ready)
        else:
            self.keda = Keda(self, "Keda", cluster=cluster, placement=ANYWHERE, after=ready)
            self.keda_operator_role = self.keda.operator_role
            self.before_scaling = (self.keda.chart, self.namespace_manifest)


def _check(
    *,
    where: str,
    cluster: AnyCluster,
    vpc: ec2.IVpc,
    subnets: ec2.SubnetSelection | None,
    compute: Compute | None,
    karpenter: ExistingKarpenter | None,
    keda: ExistingKeda | None,
    addons: Sequence[Addon] | None,
    after: Sequence[IDependable] | None,
) -> None:
    faults = Faults()
    is_cluster = check_cluster(faults, cluster)
    is_selection = subnets is None or faults.check_type(
        "subnets", subnets, ec2.SubnetSelection, "an ec2.SubnetSelection"
    )
    is_vpc = faults.check_has("vpc", vpc, "private_subnets", "a VPC, such as an ec2.Vpc")
    if is_vpc and is_selection:
        check_subnets(faults, vpc, subnets)
    if is_vpc and is_cluster:
        check_vpc(faults, cluster, vpc)
    hint = "a Compute, such as Compute.auto_mode()"
    is_compute = faults.check_type("compute", compute, Compute, hint, optional=True)
    faults.check_type("karpenter", karpenter, ExistingKarpenter, "ExistingKarpenter", optional=True)
    faults.check_type("keda", keda, ExistingKeda, "ExistingKeda", optional=True)
    if is_cluster and (is_compute or compute is None):
        check_compute(faults, cluster, compute, has_karpenter=karpenter is not None)
    is_auto_mode = is_compute and compute is not None and compute.is_auto_mode
    faults.check(
        karpenter is None or not is_auto_mode,
        "karpenter is given: EKS Auto Mode has its own; leave karpenter or compute out",
    )
    check_addons(faults, addons, is_auto_mode=is_auto_mode, has_recommended=False)
    _check_after(faults, after)
    faults.raise_if_any(where)


def _check_after(faults: Faults, after: Sequence[IDependable] | None) -> None:
    hint = "a list, such as [nodegroup]"
    if not faults.check_type("after", after, (list, tuple), hint, optional=True):
        return
    for each in after or ():
        is_dependable = hasattr(each, "node") or isinstance(each, DependencyGroup)
        faults.check(is_dependable, f"after has {shown(each)}: constructs, such as [nodegroup]")


def _there(cluster: AnyCluster, after: Sequence[IDependable] | None) -> Sequence[IDependable]:
    """Return what must be there first: unless told otherwise, the cluster with its node groups."""
    if after is not None:
        return after
    return [cluster] if isinstance(cluster, eks.Cluster) else []
