"""A cluster that is there already, and what of it runtimes use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from .._validation import Faults
from .addon import Addon
from .addons import Addons
from .compute import Compute
from .interface import AnyCluster
from .karpenter import Karpenter
from .keda import ANYWHERE, Keda
from .nodes import AutoModeNodeIdentity, GpuNodeIdentity
from .recommended_addons import check_addons, recommended
from .runtime_cluster import RuntimeCluster
from .subnets import check_subnets, select


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
            lets it read the depth of its queue, so an imported role must be mutable.
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
        addons: Sequence[Addon] = (),
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
        self.cluster = cluster
        self.vpc = vpc
        self.compute = compute or Compute.karpenter()
        self.node_subnets = select(vpc, subnets)
        self.addons = Addons(
            self, "Addons", cluster=cluster, addons=[recommended(addon) for addon in addons]
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
    addons: Sequence[Addon],
    after: Sequence[IDependable] | None,
) -> None:
    faults = Faults()
    _check_cluster(faults, cluster)
    is_selection = subnets is None or faults.check_type(
        "subnets", subnets, ec2.SubnetSelection, "an ec2.SubnetSelection"
    )
    is_vpc = faults.check_has("vpc", vpc, "private_subnets", "a VPC, such as an ec2.Vpc")
    if is_vpc and is_selection:
        check_subnets(faults, vpc, subnets)
    hint = "a Compute, such as Compute.auto_mode()"
    is_compute = faults.check_type("compute", compute, Compute, hint, optional=True)
    faults.check_type("karpenter", karpenter, ExistingKarpenter, "ExistingKarpenter", optional=True)
    faults.check_type("keda", keda, ExistingKeda, "ExistingKeda", optional=True)
    is_auto_mode = is_compute and compute is not None and compute.is_auto_mode
    faults.check(
        karpenter is None or not is_auto_mode,
        "karpenter is given: EKS Auto Mode has its own; leave karpenter or compute out",
    )
    check_addons(faults, addons, is_auto_mode=is_auto_mode, has_recommended=False)
    faults.check_type("after", after, Sequence, "a list, such as [nodegroup]", optional=True)
    faults.raise_if_any(where)


def _there(cluster: AnyCluster, after: Sequence[IDependable] | None) -> Sequence[IDependable]:
    """Return what must be there first: unless told otherwise, the cluster with its node groups."""
    if after is not None:
        return after
    return [cluster] if isinstance(cluster, eks.Cluster) else []


def _check_cluster(faults: Faults, cluster: AnyCluster) -> None:
    hint = "a cluster of aws_eks_v2, made or imported"
    if not faults.check_has("cluster", cluster, "cluster_name", hint):
        return
    # The functions of the older module speak another language than those of this one.
    is_older = type(cluster).__module__ == "aws_cdk.aws_eks"
    faults.check(not is_older, f"cluster is of aws_eks: {hint}")
    if is_older or not faults.check_has("cluster", cluster, "kubectl_provider", hint):
        return
    faults.check(
        cluster.kubectl_provider is not None,
        "cluster has no kubectl provider, by which charts and manifests come into it: give "
        "kubectl_provider_options where it is made, or kubectl_provider where it is imported",
    )
    try:
        _ = cluster.cluster_security_group_id
    except RuntimeError:
        faults.check(
            False,
            "cluster has no cluster_security_group_id, the security group of its nodes: give it "
            "where the cluster is imported",
        )
