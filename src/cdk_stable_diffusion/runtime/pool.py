"""SdNodePool: GPU nodes that one runtime has for itself, or that several share."""

from __future__ import annotations

from aws_cdk import Annotations
from aws_cdk import aws_eks_v2 as eks
from constructs import Construct

from .._validation import Faults
from ..cluster import RuntimeCluster
from .claims import Claims
from .disk import DiskUse
from .families import in_auto_mode, unknown_families
from .gpu_nodes import GpuNodes
from .named_manifest import apply_named_manifest
from .naming import check_name, kebab_case
from .node_checks import (
    A_CLUSTER,
    check_cache_stack,
    check_grace,
    check_model_cache,
    check_nodes,
    check_shared,
)
from .node_class import node_class
from .node_pool import node_pool
from .stacks import check_stacks, record_stacks
from .timing import Timing

FAMILIES_WARNING = "cdk-stable-diffusion:families-not-in-auto-mode"
UNKNOWN_FAMILIES_WARNING = "cdk-stable-diffusion:unknown-families"


class SdNodePool(Construct):
    """GPU nodes for several runtimes, which share their number and their start.

    A runtime makes nodes for itself unless it is given such a pool. Runtimes that share one take
    over each other's idle nodes, with the image there already, and the limit to the cost holds for
    all of them together. Where there are too few GPUs, pods of a higher `Priority` go first.

    Example:
        >>> nodes = GpuNodes(max_gpus=8)  # doctest: +SKIP
        >>> pool = SdNodePool(stack, "Gpus", cluster=cluster, nodes=nodes)  # doctest: +SKIP
        >>> SdRuntime(  # doctest: +SKIP
        ...     stack, "Any", api=api, cluster=cluster, model=Model.dynamic(), nodes=pool
        ... )

    Attributes:
        name: The pool's name.
        cluster: Cluster of the nodes.
        nodes: What the nodes are.
        max_gpus: Most GPUs at a time.
        model_cache_gibibytes: Largest model cache of a runtime on it.
        node_class: Manifest of what the nodes are.
        node_pool: Manifest of when there are nodes.
    """

    name: str
    cluster: RuntimeCluster
    nodes: GpuNodes
    max_gpus: int
    model_cache_gibibytes: int
    node_class: eks.KubernetesManifest
    node_pool: eks.KubernetesManifest

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: RuntimeCluster,
        nodes: GpuNodes,
        name: str | None = None,
        model_cache_gibibytes: int = 100,
    ) -> None:
        """Make a pool for several runtimes.

        Args:
            scope: Parent construct; it may be in another stack than `cluster` and the runtimes, as
                `SdRuntime` says.
            id: Identifier in the parent.
            cluster: Cluster of the nodes.
            nodes: What the nodes are. `max_gpus` must be given, and `image_start` must name its
                snapshot if it is one.
            name: Its name in the cluster. Default: `id` in kebab case.
            model_cache_gibibytes: Largest model cache of a runtime on it, for which the nodes have
                room for each of their pods. Default: 100.

        Raises:
            ValueError: Naming every argument that is wrong, also where another pool in the cluster
                has the name.
        """
        name = kebab_case(id) if name is None else name
        faults = Faults()
        claims = Claims(faults)
        is_cluster = faults.check_type("cluster", cluster, RuntimeCluster, A_CLUSTER)
        hint = "a GpuNodes, such as GpuNodes(max_gpus=3)"
        is_nodes = faults.check_type("nodes", nodes, GpuNodes, hint)
        is_size = check_model_cache(faults, model_cache_gibibytes)
        is_name = check_name(faults, name)
        if is_nodes:
            check_shared(faults, nodes)
            check_cache_stack(faults, scope, nodes)
        if is_cluster:
            check_stacks(faults, scope, {"cluster": cluster})
        if is_cluster and is_nodes and is_size:
            check_nodes(
                faults,
                cluster=cluster,
                name=name,
                nodes=nodes,
                use=DiskUse(model_cache_gibibytes=model_cache_gibibytes),
            )
        if is_cluster and is_name:
            claims.take_name(cluster._pool_names, name)
        claims.raise_if_any(f"SdNodePool {scope.node.path}/{id}")
        super().__init__(scope, id)
        record_stacks(scope, {"cluster": cluster})
        assert nodes.max_gpus is not None
        self._create(
            cluster=cluster,
            name=name,
            nodes=nodes,
            max_gpus=nodes.max_gpus,
            use=DiskUse(model_cache_gibibytes=model_cache_gibibytes),
        )

    def _create(
        self,
        *,
        cluster: RuntimeCluster,
        name: str,
        nodes: GpuNodes,
        max_gpus: int,
        use: DiskUse,
    ) -> None:
        self.name = name
        self.cluster = cluster
        self.nodes = nodes
        self.max_gpus = max_gpus
        self.model_cache_gibibytes = use.model_cache_gibibytes
        self._kept_gpus = 0
        profile = cluster.instance_profile
        self.node_class = apply_named_manifest(
            self,
            "NodeClass",
            cluster=cluster,
            resource=node_class(
                name,
                compute=cluster.compute,
                nodes=nodes,
                role=cluster.node_role.role_name,
                instance_profile=None if profile is None else profile.instance_profile_name,
                subnet_ids=[subnet.subnet_id for subnet in cluster.node_subnets],
                security_group_id=cluster.cluster.cluster_security_group_id,
                use=use,
            ),
            after=cluster.before_nodes,
        )
        self.node_pool = apply_named_manifest(
            self,
            "NodePool",
            cluster=cluster,
            resource=node_pool(
                name, compute=cluster.compute, nodes=nodes, max_gpus=max_gpus, use=use
            ),
            after=[self.node_class],
        )
        if cluster.compute.is_auto_mode and not in_auto_mode(nodes.families):
            Annotations.of(self).add_warning_v2(
                FAMILIES_WARNING,
                f"families are {', '.join(nodes.families)}: EKS Auto Mode was not known to have "
                "any of them, so that pods may wait in vain",
            )
        if unknown := unknown_families(nodes.families):
            Annotations.of(self).add_warning_v2(
                UNKNOWN_FAMILIES_WARNING,
                f"families names {', '.join(unknown)}, which this version does not know: no node "
                "is of a family that EC2 does not have, and pods wait in vain if there is no other",
            )

    def _check_runtime(
        self,
        faults: Faults,
        *,
        cluster: RuntimeCluster,
        timing: Timing | None,
        use: DiskUse | None,
        min_replicas: int,
    ) -> None:
        """Check that a runtime can run on the pool.

        Args:
            faults: Where to record what is wrong.
            cluster: The runtime's cluster.
            timing: Its times, or None where they are wrong.
            use: What its pods need of a node's disk, or None where that is wrong.
            min_replicas: Pods that it keeps.
        """
        faults.check(
            self.cluster is cluster,
            f"nodes is a pool of {self.cluster.node.path!r}: of the runtime's cluster, "
            f"{cluster.node.path!r}",
        )
        if timing is not None:
            check_grace(faults, self.nodes, timing)
        if use is not None:
            # A snapshot has the models of its images already.
            in_image = 0 if self.nodes.image_start.is_snapshot else 2 * use.image_models_gibibytes
            engine = use.engine_gibibytes(image=not self.nodes.image_start.is_snapshot)
            needed = use.model_cache_gibibytes + in_image + engine
            faults.check(
                needed <= self.model_cache_gibibytes,
                f"model_cache_gibibytes is {use.model_cache_gibibytes}"
                + (f", and models in the image need {in_image} more" if in_image else "")
                + (f", and the engine needs {engine} more" if engine else "")
                + f": at most {self.model_cache_gibibytes}, which the pool's nodes have room for",
            )
        kept = self._kept_gpus + min_replicas
        faults.check(
            kept <= self.max_gpus,
            f"scaling.min_replicas is {min_replicas}, and {kept} with the other runtimes of the "
            f"pool: at most its max_gpus, {self.max_gpus}, since each pod needs a GPU",
        )

    def _keep_gpus(self, count: int) -> None:
        """Count the GPUs that a runtime on the pool always has.

        Args:
            count: Their number.
        """
        self._kept_gpus += count


class OwnNodePool(SdNodePool):
    """The pool of one runtime, which has checked the arguments with its own."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: RuntimeCluster,
        name: str,
        nodes: GpuNodes,
        max_gpus: int,
        use: DiskUse,
    ) -> None:
        """Make the pool.

        Args:
            scope: The runtime.
            id: Identifier in the runtime.
            cluster: Cluster of the nodes.
            name: The runtime's name.
            nodes: What the nodes are.
            max_gpus: Most GPUs at a time.
            use: What the runtime's pods need of a node's disk.
        """
        Construct.__init__(self, scope, id)
        self._create(cluster=cluster, name=name, nodes=nodes, max_gpus=max_gpus, use=use)
