"""What a runtime needs of a cluster, however the cluster came to be."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import RemovalPolicy
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from constructs import Construct, IDependable

from .compute import Compute
from .interface import AnyCluster
from .manifest import apply_manifest, namespace
from .network_policy import CONTROLLER_CONFIGURATION, runtime_policy
from .priority import Priority
from .taken_names import TakenNames

RUNTIME_NAMESPACE = "stable-diffusion"
"""Namespace of the runtimes' pods."""


class RuntimeCluster(Construct):
    """A cluster that runtimes can run in: `SdEksCluster`, or what its `from_cluster` returns.

    Attributes:
        cluster: The cluster.
        compute: What launches its GPU nodes.
        vpc: Network of the cluster.
        node_subnets: Subnets in which GPU nodes are launched.
        node_role: Role of the GPU nodes.
        instance_profile: Instance profile of the GPU nodes. None in Auto Mode, which makes it.
        namespace: Name of the runtimes' namespace.
        namespace_manifest: The runtimes' namespace.
        network_policy: What the runtimes' pods may reach.
        priority_classes: The classes that `Priority` names.
        keda_operator_role: Role of the KEDA operator.
        before_nodes: What must exist before a node class, and go after it.
        before_pods: What must exist before a runtime's pods, and go after them.
        before_scaling: What must exist before what scales a runtime, and go after it.
    """

    cluster: AnyCluster
    compute: Compute
    vpc: ec2.IVpc
    node_subnets: tuple[ec2.ISubnet, ...]
    node_role: iam.IRole
    instance_profile: iam.IInstanceProfile | None
    namespace: str
    namespace_manifest: eks.KubernetesManifest
    network_policy: eks.KubernetesManifest
    priority_classes: dict[Priority, eks.KubernetesManifest]
    keda_operator_role: iam.IRole
    before_nodes: tuple[IDependable, ...]
    before_pods: tuple[IDependable, ...]
    before_scaling: tuple[IDependable, ...]

    def __init__(self, scope: Construct, id: str) -> None:
        """Start without runtimes; a subclass makes the rest.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
        """
        super().__init__(scope, id)
        self._runtime_names = TakenNames("runtime")
        self._pool_names = TakenNames("node pool")

    def _create_namespace(
        self, cluster: AnyCluster, *, is_auto_mode: bool, after: Sequence[IDependable]
    ) -> None:
        """Make the namespace of the runtimes and what holds for all pods in it.

        Args:
            cluster: The cluster.
            is_auto_mode: Whether it runs on EKS Auto Mode.
            after: What must exist before a pod can run.
        """
        self.namespace = RUNTIME_NAMESPACE
        self.namespace_manifest = apply_manifest(
            self,
            "Namespace",
            cluster=cluster,
            resource=namespace(RUNTIME_NAMESPACE, pod_security="restricted"),
        )
        self.priority_classes = {
            priority: apply_manifest(
                self,
                f"{priority.name.capitalize()}Priority",
                cluster=cluster,
                resource=priority.manifest(),
            )
            for priority in Priority
        }
        enforcement = (
            [
                apply_manifest(
                    self,
                    "NetworkPolicyController",
                    cluster=cluster,
                    resource=CONTROLLER_CONFIGURATION,
                    # Other policies of the cluster may need it, too; it costs nothing.
                    removal_policy=RemovalPolicy.RETAIN,
                )
            ]
            if is_auto_mode
            else []
        )
        self.network_policy = apply_manifest(
            self,
            "NetworkPolicy",
            cluster=cluster,
            resource=runtime_policy(RUNTIME_NAMESPACE, is_auto_mode=is_auto_mode),
            # A finalizer keeps it until its controller lets go, which stops once the network plugin
            # is gone, or its switch: kubectl would wait for ever.
            after=[self.namespace_manifest, *enforcement, *after],
        )
        self.before_pods = (
            self.namespace_manifest,
            self.network_policy,
            *self.priority_classes.values(),
            *after,
        )
