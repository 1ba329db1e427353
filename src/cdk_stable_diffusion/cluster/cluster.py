"""SdEksCluster: a cluster whose GPU nodes come and go with the work."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct

from .._validation import A_WHOLE_NUMBER, Faults, is_token
from .addons import ADDON_NAMES, Addons
from .karpenter import Karpenter
from .keda import Keda
from .kubectl import acknowledge_kubectl_provider
from .manifest import apply_manifest, namespace
from .network import create_vpc
from .nodes import GpuNodeIdentity, SystemNodes
from .versions import VERSIONS

_MIN_SYSTEM_NODES = 2
_MAX_SYSTEM_NODES = 10
_MIN_ZONES = 2
_MAX_ZONES = 6

RUNTIME_NAMESPACE = "stable-diffusion"
"""Namespace of the runtimes' pods."""


class SdEksCluster(Construct):
    """An EKS cluster with Karpenter for GPU nodes and KEDA for scaling on queues.

    It has a small group of system nodes and no GPU node until a runtime needs one. Its Kubernetes
    API is reached from within the VPC only, unless `endpoint_access` says otherwise, and people by
    access entries: ``cluster.cluster.grant_cluster_admin("Team", role.role_arn)``.

    EKS writes the logs of the control plane to a log group that it makes itself,
    ``/aws/eks/<name of the cluster>/cluster``. It keeps them for ever, also without the cluster,
    until you give it a retention.

    Example:
        >>> cluster = SdEksCluster(stack, "Cluster")  # doctest: +SKIP

    Attributes:
        vpc: Network of the cluster.
        cluster: The cluster.
        secrets_encryption_key: Key that encrypts Kubernetes secrets.
        addons: The add-ons of EKS, by name.
        system_nodegroup: Nodes of the system's pods.
        node_role: Role of the GPU nodes.
        instance_profile: Instance profile of the GPU nodes.
        node_access_entry: Lets the GPU nodes join the cluster.
        namespace: Name of the runtimes' namespace.
        namespace_manifest: The runtimes' namespace.
        interruption_queue: Queue with notices of spot interruptions.
        karpenter_role: Role of the Karpenter controller.
        karpenter_custom_resources_chart: Karpenter's custom resource definitions.
        karpenter_chart: Karpenter.
        keda_operator_role: Role of the KEDA operator.
        keda_chart: KEDA.
    """

    vpc: ec2.IVpc
    cluster: eks.Cluster
    secrets_encryption_key: kms.IKey
    addons: dict[str, eks.CfnAddon]
    system_nodegroup: eks.Nodegroup
    node_role: iam.Role
    instance_profile: iam.InstanceProfile
    node_access_entry: eks.AccessEntry
    namespace: str
    namespace_manifest: eks.KubernetesManifest
    interruption_queue: sqs.Queue
    karpenter_role: iam.Role
    karpenter_custom_resources_chart: eks.HelmChart
    karpenter_chart: eks.HelmChart
    keda_operator_role: iam.Role
    keda_chart: eks.HelmChart

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        vpc: ec2.IVpc | None = None,
        availability_zones: int | None = None,
        nat_gateways: int | None = None,
        endpoint_access: eks.EndpointAccess | None = None,
        secrets_encryption_key: kms.IKey | None = None,
        system_instance_type: ec2.InstanceType | None = None,
        system_node_count: int = 2,
        addon_versions: Mapping[str, str] | None = None,
    ) -> None:
        """Make a cluster.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            vpc: Network for the cluster, with private subnets that reach the internet in two or
                more zones. Default: a new one.
            availability_zones: Number of zones of the new VPC, 2 to 6; more zones have more spot
                capacity. A stack without a fixed region gets 2 at most. Default: 2.
            nat_gateways: Number of NAT gateways of the new VPC, 1 to the number of zones. Default:
                1.
            endpoint_access: Who reaches the Kubernetes API. Default:
                `EndpointAccess.PRIVATE`, only from within the VPC.
            secrets_encryption_key: Key for Kubernetes secrets. Default: a new one, which rotates
                and is deleted with the cluster.
            system_instance_type: Type of the system nodes, with 2 or more vCPU. Default:
                m7g.large.
            system_node_count: Number of system nodes, 2 to 10; Karpenter's two replicas need two.
                Default: 2.
            addon_versions: Versions of add-ons by name. Default: what EKS has as its default.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        _check(
            where=f"SdEksCluster {scope.node.path}/{id}",
            vpc=vpc,
            availability_zones=availability_zones,
            nat_gateways=nat_gateways,
            endpoint_access=endpoint_access,
            secrets_encryption_key=secrets_encryption_key,
            system_instance_type=system_instance_type,
            system_node_count=system_node_count,
            addon_versions=addon_versions,
        )
        super().__init__(scope, id)
        self.vpc = vpc or create_vpc(
            self,
            "Vpc",
            availability_zones=availability_zones or _MIN_ZONES,
            nat_gateways=nat_gateways or 1,
        )
        self.secrets_encryption_key = secrets_encryption_key or kms.Key(
            self,
            "SecretsEncryptionKey",
            description="Secrets of the Kubernetes cluster",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.cluster = eks.Cluster(
            self,
            "Cluster",
            version=eks.KubernetesVersion.of(VERSIONS.kubernetes),
            vpc=self.vpc,
            vpc_subnets=[ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)],
            endpoint_access=endpoint_access or eks.EndpointAccess.PRIVATE,
            default_capacity_type=eks.DefaultCapacityType.NODEGROUP,
            default_capacity=0,
            # The add-ons below replace what EKS would install unmanaged.
            bootstrap_self_managed_addons=False,
            secrets_encryption_key=self.secrets_encryption_key,
            cluster_logging=[
                eks.ClusterLoggingTypes.API,
                eks.ClusterLoggingTypes.AUDIT,
                eks.ClusterLoggingTypes.AUTHENTICATOR,
                eks.ClusterLoggingTypes.CONTROLLER_MANAGER,
                eks.ClusterLoggingTypes.SCHEDULER,
            ],
            kubectl_provider_options=eks.KubectlProviderOptions(
                kubectl_layer=KubectlV35Layer(self, "KubectlLayer")
            ),
            output_config_command=False,
            prune=False,
        )
        addons = Addons(self, "Addons", cluster=self.cluster, versions=addon_versions or {})
        system_nodes = SystemNodes(
            self,
            "SystemNodes",
            cluster=self.cluster,
            instance_type=system_instance_type or ec2.InstanceType("m7g.large"),
            count=system_node_count,
        )
        addons.surround(system_nodes.nodegroup)
        gpu_nodes = GpuNodeIdentity(self, "GpuNodes", cluster=self.cluster)
        karpenter = Karpenter(
            self,
            "Karpenter",
            cluster=self.cluster,
            gpu_node_role=gpu_nodes.role,
            nodegroup=system_nodes.nodegroup,
        )
        keda = Keda(self, "Keda", cluster=self.cluster, nodegroup=system_nodes.nodegroup)
        for chart in (karpenter.chart, keda.chart):
            chart.node.add_dependency(addons)

        self.addons = addons.by_name
        self.system_nodegroup = system_nodes.nodegroup
        self.node_role = gpu_nodes.role
        self.instance_profile = gpu_nodes.instance_profile
        self.node_access_entry = gpu_nodes.access_entry
        self.namespace = RUNTIME_NAMESPACE
        self.namespace_manifest = apply_manifest(
            self,
            "Namespace",
            cluster=self.cluster,
            resource=namespace(RUNTIME_NAMESPACE, pod_security="restricted"),
        )
        self.interruption_queue = karpenter.controller.interruptions.queue
        self.karpenter_role = karpenter.controller.role
        self.karpenter_custom_resources_chart = karpenter.custom_resources_chart
        self.karpenter_chart = karpenter.chart
        self.keda_operator_role = keda.operator_role
        self.keda_chart = keda.chart
        self._runtime_names: set[str] = set()
        acknowledge_kubectl_provider(self.cluster)

    def _reserve_runtime_name(self, name: str) -> None:
        """Take a name for a runtime's Kubernetes resources; `SdRuntime` does so.

        Args:
            name: The runtime's name.

        Raises:
            ValueError: If another runtime in the cluster has it.
        """
        if name in self._runtime_names:
            raise ValueError(f"the cluster already has a runtime named {name!r}")
        self._runtime_names.add(name)


def _check(
    *,
    where: str,
    vpc: ec2.IVpc | None,
    availability_zones: int | None,
    nat_gateways: int | None,
    endpoint_access: eks.EndpointAccess | None,
    secrets_encryption_key: kms.IKey | None,
    system_instance_type: ec2.InstanceType | None,
    system_node_count: int,
    addon_versions: Mapping[str, str] | None,
) -> None:
    faults = Faults()
    _check_network(faults, vpc, availability_zones, nat_gateways)
    faults.check_type(
        "endpoint_access",
        endpoint_access,
        eks.EndpointAccess,
        "an EndpointAccess, such as eks.EndpointAccess.PRIVATE",
        optional=True,
    )
    faults.check_has(
        "secrets_encryption_key",
        secrets_encryption_key,
        "key_arn",
        "a key, such as a kms.Key or kms.Key.from_key_arn(...)",
        optional=True,
    )
    faults.check_type(
        "system_instance_type",
        system_instance_type,
        ec2.InstanceType,
        "an InstanceType, such as ec2.InstanceType('m7g.large')",
        optional=True,
    )
    if faults.check_type("system_node_count", system_node_count, int, A_WHOLE_NUMBER):
        faults.check(
            _MIN_SYSTEM_NODES <= system_node_count <= _MAX_SYSTEM_NODES,
            f"system_node_count is {system_node_count}: {_MIN_SYSTEM_NODES} to {_MAX_SYSTEM_NODES}",
        )
    hint = "versions by name, such as {'coredns': 'v1.13.1-eksbuild.1'}"
    if faults.check_type("addon_versions", addon_versions, Mapping, hint, optional=True):
        unknown = sorted(set(map(str, addon_versions or ())) - set(ADDON_NAMES))
        faults.check(
            not unknown,
            f"addon_versions names {', '.join(unknown)}: only {', '.join(ADDON_NAMES)}",
        )
        for name, version in (addon_versions or {}).items():
            faults.check_type(f"addon_versions[{name!r}]", version, str, "a version as text")
    faults.raise_if_any(where)


def _check_network(
    faults: Faults, vpc: ec2.IVpc | None, availability_zones: int | None, nat_gateways: int | None
) -> None:
    for name, value in (("availability_zones", availability_zones), ("nat_gateways", nat_gateways)):
        faults.check(
            vpc is None or value is None,
            f"{name} is {value}, but vpc is given: {name} shapes only a new VPC",
        )
    # The most gateways that there may be once the number of zones is right.
    most_gateways = _MIN_ZONES if availability_zones is None else _MAX_ZONES
    if faults.check_type(
        "availability_zones", availability_zones, int, A_WHOLE_NUMBER, optional=True
    ):
        zones = availability_zones or 0
        faults.check(
            _MIN_ZONES <= zones <= _MAX_ZONES,
            f"availability_zones is {zones}: {_MIN_ZONES} to {_MAX_ZONES}",
        )
        most_gateways = min(max(zones, _MIN_ZONES), _MAX_ZONES)
    if faults.check_type("nat_gateways", nat_gateways, int, A_WHOLE_NUMBER, optional=True):
        faults.check(
            nat_gateways is None or 1 <= nat_gateways <= most_gateways,
            f"nat_gateways is {nat_gateways}: 1 to the number of zones, {most_gateways}",
        )
    if faults.check_has("vpc", vpc, "private_subnets", "a VPC, such as an ec2.Vpc", optional=True):
        assert vpc is not None
        private_zones = {subnet.availability_zone for subnet in vpc.private_subnets}
        faults.check(
            len(private_zones) >= _MIN_ZONES or any(map(is_token, private_zones)),
            f"vpc has {'private subnets in one zone' if private_zones else 'no private subnets'}: "
            "at least two, which reach the internet, in two zones",
        )
