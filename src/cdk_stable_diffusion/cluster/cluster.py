"""SdEksCluster: a cluster whose GPU nodes come and go with the work."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Annotations, RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sqs as sqs
from aws_cdk.lambda_layer_kubectl_v35 import KubectlV35Layer
from constructs import Construct, IDependable

from .addon import Addon
from .addons import Addons
from .cluster_arguments import ClusterArguments
from .compute import Compute
from .endpoint import ClusterEndpoint
from .existing import ExistingCluster, ExistingKarpenter, ExistingKeda
from .interface import AnyCluster
from .karpenter import Karpenter
from .keda import ANYWHERE, ON_SYSTEM_NODES, Keda
from .kubectl import acknowledge_kubectl_provider
from .network import create_vpc
from .nodes import AutoModeNodeIdentity, GpuNodeIdentity, SystemNodes
from .prepared import mark_prepared
from .recommended_addons import addons_of
from .runtime_cluster import RuntimeCluster
from .subnets import MIN_ZONES, select, warn_of_isolated_subnets
from .system_pool import SYSTEM_POOL, SystemPool
from .versions import VERSIONS
from .vpc_endpoints import InterfaceEndpoints, VpcEndpoints, create_s3_gateway

OPEN_TO_ALL_WARNING = "cdk-stable-diffusion:kubernetes-api-open-to-all"


class SdEksCluster(RuntimeCluster):
    """An EKS cluster with Karpenter for GPU nodes and KEDA for scaling on queues.

    It has a small group of system nodes and no GPU node until a runtime needs one; or neither, with
    `Compute.auto_mode()`. Its Kubernetes API is reached from within the VPC only, unless
    `endpoint_access` says otherwise, and people by access entries:
    ``cluster.cluster.grant_cluster_admin("Team", role.role_arn)``.

    EKS writes the logs of the control plane to a log group that it makes itself,
    ``/aws/eks/<name of the cluster>/cluster``, and the CloudWatch agent writes those of pods to
    ``/aws/containerinsights/<name of the cluster>/``. Both are kept for ever, also without the
    cluster, until you give them a retention.

    Example:
        >>> cluster = SdEksCluster(stack, "Cluster")  # doctest: +SKIP

    Attributes:
        vpc: Network of the cluster.
        s3_endpoint: Gateway endpoint for S3, if one was made.
        interface_endpoints: Endpoints for other services of AWS, by name.
        cluster: The cluster.
        compute: What launches its GPU nodes.
        secrets_encryption_key: Key that encrypts Kubernetes secrets.
        addons: The add-ons of EKS, by name.
        system_nodegroup: Nodes of the system's pods. None in Auto Mode.
        node_subnets: Subnets of all nodes.
        node_role: Role of the GPU nodes.
        instance_profile: Instance profile of the GPU nodes. None in Auto Mode, which makes it.
        node_access_entry: Lets the GPU nodes join the cluster.
        namespace: Name of the runtimes' namespace.
        namespace_manifest: The runtimes' namespace.
        network_policy: What the runtimes' pods may reach.
        priority_classes: The classes that `Priority` names.
        interruption_queue: Queue with notices of spot interruptions. None in Auto Mode.
        karpenter_role: Role of the Karpenter controller. None in Auto Mode.
        karpenter_custom_resources_chart: Karpenter's custom resource definitions. None in Auto
            Mode.
        karpenter_chart: Karpenter. None in Auto Mode.
        keda_operator_role: Role of the KEDA operator.
        keda_chart: KEDA.
    """

    s3_endpoint: ec2.GatewayVpcEndpoint | None
    interface_endpoints: dict[str, ec2.InterfaceVpcEndpoint]
    cluster: eks.Cluster
    secrets_encryption_key: kms.IKey
    addons: dict[str, eks.CfnAddon]
    system_nodegroup: eks.Nodegroup | None
    node_role: iam.Role
    instance_profile: iam.InstanceProfile | None
    node_access_entry: eks.AccessEntry
    interruption_queue: sqs.Queue | None
    karpenter_role: iam.Role | None
    karpenter_custom_resources_chart: eks.HelmChart | None
    karpenter_chart: eks.HelmChart | None
    keda_operator_role: iam.Role
    keda_chart: eks.HelmChart

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        compute: Compute | None = None,
        vpc: ec2.IVpc | None = None,
        subnets: ec2.SubnetSelection | None = None,
        availability_zones: int | None = None,
        nat_gateways: int | None = None,
        vpc_endpoints: VpcEndpoints | None = None,
        endpoint_access: ClusterEndpoint | None = None,
        secrets_encryption_key: kms.IKey | None = None,
        system_instance_type: ec2.InstanceType | None = None,
        system_node_count: int | None = None,
        addons: Sequence[Addon] | None = None,
    ) -> None:
        """Make a cluster.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            compute: What launches GPU nodes. Default: `Compute.karpenter()`.
            vpc: Network for the cluster, with private subnets that reach the internet in two or
                more zones. Default: a new one.
            subnets: Which subnets of `vpc` get the nodes and the control plane's network
                interfaces, in two or more zones. Default: private ones, which reach the internet.
            availability_zones: Number of zones of the new VPC, 2 to 6; more zones have more spot
                capacity. A stack without a fixed region gets 2 at most. Default: 2.
            nat_gateways: Number of NAT gateways of the new VPC, 1 to the number of zones. Default:
                1.
            vpc_endpoints: Which services of AWS are reached without the internet. Default:
                `VpcEndpoints.s3()` in a new VPC, `VpcEndpoints.none()` in yours.
            endpoint_access: Who reaches the Kubernetes API. Default: `ClusterEndpoint.private()`,
                only from within the VPC.
            secrets_encryption_key: Key for Kubernetes secrets. Another key later means another
                cluster, since EKS changes it in none. Default: a new one, which rotates and is
                deleted with the cluster.
            system_instance_type: Type of the system nodes, with 2 or more vCPU and 4 GiB; not with
                Auto Mode. Default: m7g.large.
            system_node_count: Number of system nodes, 2 to 10; Karpenter's two replicas need two.
                Not with Auto Mode. Default: 2.
            addons: What to change in the add-ons, what to leave out and what to add; `Addon` lists
                those that a cluster has. Default: nothing.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        ClusterArguments(
            compute=compute,
            vpc=vpc,
            subnets=subnets,
            availability_zones=availability_zones,
            nat_gateways=nat_gateways,
            vpc_endpoints=vpc_endpoints,
            endpoint_access=endpoint_access,
            secrets_encryption_key=secrets_encryption_key,
            system_instance_type=system_instance_type,
            system_node_count=system_node_count,
            addons=addons,
        ).check(f"SdEksCluster {scope.node.path}/{id}")
        super().__init__(scope, id)
        self.compute = compute or Compute.karpenter()
        self.vpc = vpc or create_vpc(
            self,
            "Vpc",
            availability_zones=availability_zones or MIN_ZONES,
            nat_gateways=nat_gateways or 1,
        )
        self.node_subnets = select(self.vpc, subnets)
        warn_of_isolated_subnets(self, self.vpc, self.node_subnets)
        network = self._create_endpoints(is_new=vpc is None, chosen=vpc_endpoints)
        self.secrets_encryption_key = secrets_encryption_key or kms.Key(
            self,
            "SecretsEncryptionKey",
            description="Secrets of the Kubernetes cluster",
            enable_key_rotation=True,
            removal_policy=RemovalPolicy.DESTROY,
        )
        self.cluster = self._create_control_plane(endpoint_access or ClusterEndpoint.private())
        mark_prepared(self.cluster)
        chosen = Addons(
            self,
            "Addons",
            cluster=self.cluster,
            addons=addons_of(addons or (), is_auto_mode=self.compute.is_auto_mode),
            is_pinned=True,
        )
        self.addons = chosen.by_name
        if self.compute.is_auto_mode:
            self._use_auto_mode(chosen, network)
        else:
            self._use_karpenter(
                chosen,
                network,
                instance_type=system_instance_type or ec2.InstanceType("m7g.large"),
                count=system_node_count or 2,
            )
        acknowledge_kubectl_provider(self.cluster, is_auto_mode=self.compute.is_auto_mode)

    @staticmethod
    def from_cluster(
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
    ) -> RuntimeCluster:
        """Prepare a cluster of your own for runtimes.

        It gets the namespace of the runtimes with its network policy, the priority classes and,
        unless you say that they are there, Karpenter and KEDA. Do so once for a cluster: runtimes
        in any stack take what this returns.

        The cluster must have authentication by access entries, Kubernetes 1.33 or later, and the
        add-ons vpc-cni, kube-proxy, coredns and eks-pod-identity-agent; network policies hold only
        where the VPC CNI plugin's configuration has ``enableNetworkPolicy``. Karpenter's two
        replicas need two nodes that Karpenter did not launch.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: The cluster, an `eks.Cluster` of `aws_eks_v2` with a kubectl provider, or one
                imported with ``eks.Cluster.from_cluster_attributes``, with `kubectl_provider` and
                `cluster_security_group_id`.
            vpc: Its network, the one that it is in.
            subnets: Subnets of GPU nodes, in two or more zones. Default: private ones, which reach
                the internet.
            compute: What launches GPU nodes: `Compute.auto_mode()` for a cluster on EKS Auto Mode,
                as an `eks.Cluster` is unless its `default_capacity_type` says otherwise.
                Default: `Compute.karpenter()`.
            karpenter: Karpenter, if it is there. Default: it is installed.
            keda: KEDA, if it is there. Default: it is installed.
            addons: Add-ons that the cluster lacks, with the recommended configuration, such as
                ``[Addon(name="eks-pod-identity-agent")]``; by default in the build that EKS has as
                its default for the cluster's version. Default: none.
            after: What must exist before charts can be installed, and go after them, such as node
                groups and the VPC CNI plugin's add-on. Default: all that is in `cluster`, if it is
                made here.

        Returns:
            The cluster, for runtimes.

        Raises:
            ValueError: Naming every argument that is wrong.
        """
        return ExistingCluster(
            scope,
            id,
            cluster=cluster,
            vpc=vpc,
            subnets=subnets,
            compute=compute,
            karpenter=karpenter,
            keda=keda,
            addons=addons,
            after=after,
        )

    def _create_endpoints(
        self, *, is_new: bool, chosen: VpcEndpoints | None
    ) -> tuple[IDependable, ...]:
        """Make the endpoints of the VPC, and return what nodes must wait for."""
        endpoints = chosen or (VpcEndpoints.s3() if is_new else VpcEndpoints.none())
        self.s3_endpoint = None
        self.interface_endpoints = {}
        made: list[IDependable] = []
        if endpoints.s3_gateway:
            # Our VPC has it within, so that whatever waits for the VPC waits for it.
            home, id = (self.vpc, "S3") if is_new else (self, "S3Endpoint")
            assert isinstance(home, Construct)
            self.s3_endpoint = create_s3_gateway(home, id, vpc=self.vpc)
            made.append(self.s3_endpoint)
        if endpoints.interfaces:
            interfaces = InterfaceEndpoints(
                self,
                "Endpoints",
                vpc=self.vpc,
                subnets=self.node_subnets,
                names=endpoints.interfaces,
            )
            self.interface_endpoints = interfaces.by_name
            made.append(interfaces)
        return tuple(made)

    def _create_control_plane(self, endpoint: ClusterEndpoint) -> eks.Cluster:
        if endpoint.is_open_to_all:
            Annotations.of(self).add_warning_v2(
                OPEN_TO_ALL_WARNING,
                "endpoint_access lets everybody on the internet reach the Kubernetes API, which "
                "then only credentials protect",
            )
        is_auto_mode = self.compute.is_auto_mode
        return eks.Cluster(
            self,
            "Cluster",
            version=eks.KubernetesVersion.of(VERSIONS.kubernetes),
            vpc=self.vpc,
            vpc_subnets=[ec2.SubnetSelection(subnets=list(self.node_subnets))],
            endpoint_access=endpoint._endpoint_access(),
            default_capacity_type=(
                eks.DefaultCapacityType.AUTOMODE
                if is_auto_mode
                else eks.DefaultCapacityType.NODEGROUP
            ),
            default_capacity=None if is_auto_mode else 0,
            compute=(
                # None of Auto Mode's own: `SystemPool` says why.
                eks.ComputeConfig(node_pools=[]) if is_auto_mode else None
            ),
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

    def _use_karpenter(
        self,
        addons: Addons,
        network: Sequence[IDependable],
        *,
        instance_type: ec2.InstanceType,
        count: int,
    ) -> None:
        system_nodes = SystemNodes(
            self,
            "SystemNodes",
            cluster=self.cluster,
            subnets=self.node_subnets,
            instance_type=instance_type,
            count=count,
        )
        nodegroup = system_nodes.nodegroup
        if network:
            nodegroup.node.add_dependency(*network)
        addons.surround(nodegroup)
        gpu_nodes = GpuNodeIdentity(self, "GpuNodes", cluster=self.cluster)
        karpenter = Karpenter(
            self,
            "Karpenter",
            cluster=self.cluster,
            gpu_node_role=gpu_nodes.role,
            after=[nodegroup],
        )
        # KEDA's parts and the runtimes' pods find each other and AWS by name.
        dns = self.addons["coredns"]
        keda = Keda(
            self,
            "Keda",
            cluster=self.cluster,
            placement=ON_SYSTEM_NODES,
            after=[nodegroup, dns],
        )
        self.system_nodegroup = nodegroup
        self.node_role = gpu_nodes.role
        self.instance_profile = gpu_nodes.instance_profile
        self.node_access_entry = gpu_nodes.access_entry
        self._create_namespace(self.cluster, is_auto_mode=False, after=[dns])
        self.interruption_queue = karpenter.controller.interruptions.queue
        self.karpenter_role = karpenter.controller.role
        self.karpenter_custom_resources_chart = karpenter.custom_resources_chart
        self.karpenter_chart = karpenter.chart
        self.before_nodes = (karpenter.chart, gpu_nodes.access_entry)
        self._use_keda(keda)

    def _use_auto_mode(self, addons: Addons, network: Sequence[IDependable]) -> None:
        self._pool_names.take(SYSTEM_POOL)
        system_pool = SystemPool(
            self,
            "SystemNodes",
            cluster=self.cluster,
            subnets=self.node_subnets,
            after=network,
        )
        for addon in addons.by_name.values():
            addon.node.add_dependency(system_pool.node_pool)
        gpu_nodes = AutoModeNodeIdentity(self, "GpuNodes", cluster=self.cluster)
        keda = Keda(
            self,
            "Keda",
            cluster=self.cluster,
            placement=ANYWHERE,
            after=[self.cluster, system_pool.node_pool],
        )
        self.system_nodegroup = None
        self.node_role = gpu_nodes.role
        self.instance_profile = None
        self.node_access_entry = gpu_nodes.access_entry
        self._create_namespace(self.cluster, is_auto_mode=True, after=[])
        self.interruption_queue = None
        self.karpenter_role = None
        self.karpenter_custom_resources_chart = None
        self.karpenter_chart = None
        self.before_nodes = (gpu_nodes.access_entry, *network)
        self._use_keda(keda)

    def _use_keda(self, keda: Keda) -> None:
        self.keda_operator_role = keda.operator_role
        self.keda_chart = keda.chart
        self.before_scaling = (keda.chart, self.namespace_manifest)
