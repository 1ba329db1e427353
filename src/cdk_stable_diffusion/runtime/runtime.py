"""SdRuntime: pods that serve some models, or all, from queues of their own."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from aws_cdk import Annotations, Duration, Stack
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IDependable

from .._acknowledge import acknowledge_own_policy, acknowledge_wildcards
from ..api import SdApi
from ..cluster import Priority, RuntimeCluster
from ..cluster.pod_identity import associate_role, pod_role
from ..contract.environment import AgentEnvironment, variable_name
from .arguments import check_runtime, disk_use, images_of
from .batching import Batching
from .disk import BYTES_OF_A_GIBIBYTE, DiskUse
from .engine import Engine
from .engine_container import ENGINE_DIRECTORY, EngineContainer
from .finishing import Finishing
from .gpu_nodes import Capacity, GpuNodes
from .image import RuntimeImage
from .image_cache import ImageCache
from .input_images import InputImages
from .membership import Membership
from .model import Model
from .named_manifest import apply_named_manifest
from .naming import kebab_case
from .own_cache import create_cache
from .permissions import agent_statements, scaler_statements
from .pool import OwnNodePool, SdNodePool
from .scaling import Scaling
from .seconds import whole_seconds
from .stacks import record_stacks
from .task_queues import create_dead_letter_queue, create_task_queues, subscribe
from .timing import LEASE_SECONDS, Timing
from .tries import MORE_RECEIVES_THAN_TRIES
from .workload import HEALTH_PORT, MODEL_CACHE_DIRECTORY, Workload

FEWER_GPUS_WARNING = "cdk-stable-diffusion:fewer-gpus-than-pods"
NOT_IN_CACHE_WARNING = "cdk-stable-diffusion:image-not-in-cache"


class SdRuntime(Construct):
    """GPU pods that take tasks from queues of their own.

    Tasks reach a queue by a filter on the API's request topic: the one queue of a static runtime,
    or one of the lanes of a dynamic one. KEDA sets the number of pods by the depth of all queues,
    and Karpenter launches and ends the nodes for them. An idle runtime has no pod and no node
    unless `Scaling.min_replicas` says so.

    It has nodes of its own, or shares those of an `SdNodePool` with other runtimes.

    Example:
        >>> SdRuntime(  # doctest: +SKIP
        ...     stack, "Sdxl", api=api, cluster=cluster, model=Model.static("sdxl-base-1.0")
        ... )

    Attributes:
        name: The runtime's name.
        cluster: Where its pods run.
        model: Which models it serves.
        scaling: How it follows its queue.
        priority: Which runtime's pods go first where there are too few GPUs.
        batching: Whether tasks share forward passes.
        pool: Its nodes.
        image_cache: The snapshot that it makes of its image for its nodes, or None.
        timing: The times that follow from its longest task.
        queues: Where its tasks wait: the queue of each lane, of which a static runtime has one,
            and last the overflow queue, if there is one.
        overflow_queue: Where the home of a lane passes on what another pod would begin sooner, and
            every idle pod waits. None in a runtime with one lane.
        dead_letter_queue: Tasks that failed time after time, and what was no task.
        subscriptions: Those of the lanes' queues to the request topic, in the order of the lanes.
        role: Role of its pods.
        association: Gives the role to its pods.
        image_uri: Its container image.
        engine: What makes its pictures.
        engine_image_uri: Image of the engine's own container, or None.
        service_account: Manifest of the service account.
        deployment: Manifest of the pods.
        pod_disruption_budget: Manifest of how many pods may be evicted at a time. None with spot
            instances and for one pod, where it would help nobody.
        trigger_authentication: Manifest by which KEDA reads the queue.
        scaled_object: Manifest by which KEDA scales the pods.
    """

    name: str
    cluster: RuntimeCluster
    model: Model
    scaling: Scaling
    priority: Priority
    batching: Batching
    pool: SdNodePool
    image_cache: ImageCache | None
    timing: Timing
    queues: tuple[sqs.Queue, ...]
    overflow_queue: sqs.Queue | None
    dead_letter_queue: sqs.Queue
    subscriptions: tuple[sns.CfnSubscription, ...]
    role: iam.Role
    association: eks.CfnPodIdentityAssociation
    image_uri: str
    engine: Engine
    engine_image_uri: str | None
    service_account: eks.KubernetesManifest
    deployment: eks.KubernetesManifest
    pod_disruption_budget: eks.KubernetesManifest | None
    trigger_authentication: eks.KubernetesManifest
    scaled_object: eks.KubernetesManifest

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        api: SdApi,
        cluster: RuntimeCluster,
        model: Model,
        name: str | None = None,
        longest_task: Duration | None = None,
        max_receive_count: int = 3,
        scaling: Scaling | None = None,
        priority: Priority = Priority.NORMAL,
        nodes: GpuNodes | SdNodePool | None = None,
        image: RuntimeImage | None = None,
        model_cache_gibibytes: int = 100,
        batching: Batching | None = None,
        engine: Engine | None = None,
        input_images: InputImages | None = None,
        finishing: Finishing | None = None,
    ) -> None:
        """Make a runtime.

        Args:
            scope: Parent construct; it may be in another stack than `api`, `cluster` and `nodes`,
                of the same account and region. Its stack is deployed after theirs, and none can be
                deployed after itself: do not put one runtime in the API's stack and another in
                that of its cluster. Where the API's stack is another one, tasks for a runtime that
                is new are lost until its own stack is deployed, too: deploy both before clients
                send any.
            id: Identifier in the parent.
            api: Where its tasks come from.
            cluster: Where its pods run.
            model: Which models it serves.
            name: Its name in results and in the cluster. Default: `id` in kebab case.
            longest_task: Longest that the pictures of one task may take, 10 to 43170 seconds, which
                is 12 hours less half a minute; loading its model is not counted. Default:
                5 minutes.
            max_receive_count: How often a task is tried before it goes to the dead-letter queue, 1
                to 989. A try that a spot interruption or a scale-in ends does not count, unless
                that happens more than ten times. Default: 3.
            scaling: How it follows its queue. Default: `Scaling()`.
            priority: Whether its pods go before or after those of other runtimes where there are
                too few GPUs. Default: `Priority.NORMAL`.
            nodes: Which nodes it may launch for itself, or a pool that it shares with other
                runtimes. Default: `GpuNodes()`.
            image: Its container image. Default: `RuntimeImage.from_package()`.
            model_cache_gibibytes: Space for models on a node's disk, for each pod. Default: 100.
            batching: Whether tasks share forward passes of the GPU. Default: `Batching.off()`.
            engine: What makes its pictures. Default: `Engine.diffusers()`.
            input_images: Where the pictures may come from that tasks begin with, and how large
                they may be. Default: `InputImages()`: data URLs, and the API's output bucket.
            finishing: What is done to each picture between drawing and storing it: a safety check,
                a watermark. Default: nothing.

        Raises:
            ValueError: Naming every argument that is wrong, also where another runtime already
                has the name or a model.
        """
        self.name = kebab_case(id) if name is None else name
        self.cluster = cluster
        self.model = model
        self.scaling = Scaling() if scaling is None else scaling
        self.priority = priority
        self.batching = Batching.off() if batching is None else batching
        nodes = GpuNodes() if nodes is None else nodes
        image = RuntimeImage.from_package() if image is None else image
        self.engine = engine = Engine.diffusers() if engine is None else engine
        input_images = InputImages() if input_images is None else input_images
        finishing = Finishing() if finishing is None else finishing
        check_runtime(
            scope=scope,
            where=f"SdRuntime {scope.node.path}/{id}",
            name=self.name,
            api=api,
            cluster=cluster,
            model=model,
            longest_task=longest_task,
            max_receive_count=max_receive_count,
            scaling=self.scaling,
            priority=priority,
            nodes=nodes,
            image=image,
            model_cache_gibibytes=model_cache_gibibytes,
            batching=self.batching,
            engine=engine,
            input_images=input_images,
            finishing=finishing,
        )
        super().__init__(scope, id)
        needs = {"api": api, "cluster": cluster, "nodes": nodes, **input_images._needs}
        record_stacks(scope, needs)
        api.routes.allow_hosts(self.name, input_images._known_hosts)
        self.timing = Timing(longest_task_seconds=whole_seconds(longest_task, default=300))
        self.dead_letter_queue = create_dead_letter_queue(self)
        self._task_queues = create_task_queues(
            self,
            lanes=model.lanes_for(self.scaling.max_replicas),
            visibility_seconds=self.timing.visibility_seconds,
            dead_letter_queue=self.dead_letter_queue,
            max_receive_count=max_receive_count + MORE_RECEIVES_THAN_TRIES,
        )
        self.queues = self._task_queues.all
        self.overflow_queue = self._task_queues.overflow
        self.subscriptions = subscribe(
            self, api=api, runtime_name=self.name, lanes=self._task_queues.lanes
        )
        self.role = self._create_role(api, input_images)
        self.association = associate_role(
            self,
            "Association",
            cluster=cluster.cluster,
            namespace=cluster.namespace,
            service_account=self.name,
            role=self.role,
        )
        self.image_uri = image._bind(self)
        self.engine_image_uri = None
        if engine.image is not None:
            self.engine_image_uri = engine.image._bind(Construct(self, "Engine"))
        environment = AgentEnvironment(
            queue_url=self.queue.queue_url,
            dead_letter_queue_url=self.dead_letter_queue.queue_url,
            result_topic_arn=api.result_topic.topic_arn,
            output_bucket=api.output_bucket.bucket_name,
            model_bucket=api.model_bucket.bucket_name,
            runtime_name=self.name,
            runtime_class=self.model.runtime_class,
            models=self.model.names,
            lease_seconds=LEASE_SECONDS,
            task_timeout_seconds=self.timing.longest_task_seconds,
            drain_seconds=self.timing.drain_seconds,
            max_receive_count=max_receive_count,
            model_cache_directory=MODEL_CACHE_DIRECTORY,
            model_cache_bytes=model_cache_gibibytes * BYTES_OF_A_GIBIBYTE,
            health_port=HEALTH_PORT,
            batch_tasks=self.batching.tasks,
            engine=engine.name,
            engine_url=engine.url,
            engine_directory="" if engine.image is None else ENGINE_DIRECTORY,
            input_buckets=input_images._places,
            input_hosts=tuple(input_images.hosts),
            max_input_bytes=input_images._max_bytes,
            max_input_pixels=input_images._most_pixels,
            safety_checker=finishing._safety_checker,
            watermark=finishing._watermark,
            memory_cache_bytes=self.model.cache._memory_bytes,
            **self._lanes(),
        ).to_environment()
        use = disk_use(image, model_cache_gibibytes, engine)
        self.image_cache = None
        self.pool = nodes if isinstance(nodes, SdNodePool) else self._create_pool(nodes, image, use)
        self.pool._keep_gpus(self.scaling.min_replicas)
        self._keep_rights_while_draining()
        self._warn_of_few_gpus()
        self._warn_of_missing_image()
        self._create_workload(environment, use)
        api.routes.announce(self)

    def _warn_of_few_gpus(self) -> None:
        gpus, pods = self.pool.max_gpus, self.scaling.max_replicas
        if gpus < pods:
            Annotations.of(self).add_warning_v2(
                FEWER_GPUS_WARNING,
                f"nodes.max_gpus is {gpus} and scaling.max_replicas {pods}: each pod needs a GPU, "
                f"so that no more than {gpus} will run and the others wait in vain",
            )

    def _warn_of_missing_image(self) -> None:
        """Warn of a shared cache without the image: pods would pull it, to a small volume."""
        cache = self.pool.nodes.image_start.source
        if cache is None or isinstance(cache, str):
            return
        resolve = Stack.of(self).resolve
        cached = [resolve(uri) for uri in cache.image_uris]
        own = [("image", self.image_uri), ("engine's image", self.engine_image_uri)]
        missing = [name for name, uri in own if uri is not None and resolve(uri) not in cached]
        if missing:
            Annotations.of(self).add_warning_v2(
                NOT_IN_CACHE_WARNING,
                f"the {' and the '.join(missing)} is not in {cache.node.path}, from which the "
                "runtime's nodes start: each of them pulls it; add it to the images of the "
                "ImageCache",
            )

    @property
    def queue(self) -> sqs.Queue:
        """The queue of its first lane: its only one where there are no others."""
        return self.queues[0]

    @property
    def subscription(self) -> sns.CfnSubscription:
        """The first queue's subscription."""
        return self.subscriptions[0]

    @property
    def _workload(self) -> Workload:
        return Workload(name=self.name, namespace=self.cluster.namespace)

    @property
    def _membership(self) -> Membership | None:
        """How its pods know of each other, which only those with several lanes must."""
        return None if self.overflow_queue is None else self._workload.membership

    def _lanes(self) -> dict[str, Any]:
        """Return what the agents are told of its lanes."""
        if self.overflow_queue is None:
            return {}
        return {
            "lane_queue_urls": tuple(queue.queue_url for queue in self._task_queues.lanes),
            "overflow_queue_url": self.overflow_queue.queue_url,
            "members_service": self._workload.membership.service_name,
        }

    def _create_role(self, api: SdApi, input_images: InputImages) -> iam.Role:
        role = pod_role(
            self,
            "Role",
            cluster=self.cluster.cluster,
            namespace=self.cluster.namespace,
            service_account=self.name,
            description=f"Pods of the runtime {self.name}",
        )
        statements = agent_statements(
            api=api,
            queues=self.queues,
            overflow_queue=self.overflow_queue,
            dead_letter_queue=self.dead_letter_queue,
            input_images=input_images,
        )
        for statement in statements:
            role.add_to_policy(statement)
        acknowledge_own_policy(role)
        inputs = input_images._resources
        acknowledge_wildcards(
            role,
            resources=[
                resource
                for statement in statements
                for resource in statement.resources
                if resource.endswith("*") and resource not in inputs
            ],
            reason="The names of pictures and of models are known only when requests come: the "
            "grant for pictures is on the objects of one bucket, and that for models, if there is "
            "one, on those under models/ of the other. What may be deleted is under .returned/, "
            "where nothing of a client's lies.",
        )
        acknowledge_wildcards(
            role,
            resources=inputs,
            reason="Which pictures tasks begin with is known only when requests come: the grant is "
            "for reading the objects of the buckets, or parts of buckets, that input_images names.",
        )
        return role

    def _create_pool(self, nodes: GpuNodes, image: RuntimeImage, use: DiskUse) -> SdNodePool:
        if nodes.image_start._needs_cache:
            self.image_cache = create_cache(
                self,
                "ImageCache",
                cluster=self.cluster,
                nodes=nodes,
                images=images_of(image, self.engine),
            )
            start = nodes.image_start._with_cache(self.image_cache)
            nodes = replace(nodes, image_start=start)
        gpus = self.scaling.max_replicas if nodes.max_gpus is None else nodes.max_gpus
        return OwnNodePool(
            self,
            "Pool",
            cluster=self.cluster,
            name=self.name,
            nodes=nodes,
            # Karpenter launches only whole nodes.
            max_gpus=math.ceil(gpus / nodes.gpus_per_node) * nodes.gpus_per_node,
            use=use,
        )

    def _keep_rights_while_draining(self) -> None:
        """Delete the pool before the role, so that pods drained with their nodes have it still.

        It is the node class that ends when the last node has ended. The NodePool is gone at once.
        A pool of another stack cannot wait for the role: the runtime waits for the pool.
        """
        if Stack.of(self.pool).node.path == Stack.of(self).node.path:
            self.pool.node_class.node.add_dependency(self.association, self.role)

    def _engine_container(self) -> EngineContainer | None:
        if self.engine_image_uri is None:
            return None
        return EngineContainer(engine=self.engine, image=self.engine_image_uri)

    def _create_workload(self, environment: dict[str, str], use: DiskUse) -> None:
        cluster = self.cluster
        workload = self._workload
        membership = self._membership
        engine = self._engine_container()
        region = Stack.of(self).region
        overflow_queue = self.overflow_queue
        self.service_account = apply_named_manifest(
            self,
            "ServiceAccount",
            cluster=cluster,
            resource=workload.service_account(),
            after=cluster.before_pods,
        )
        self.deployment = apply_named_manifest(
            self,
            "Deployment",
            cluster=cluster,
            resource=workload.deployment(
                image=self.image_uri,
                environment={
                    **environment,
                    "AWS_REGION": region,
                    # Another container does not see the models that the agent's image carries.
                    **({} if engine is None else {variable_name("image_models_directory"): ""}),
                },
                pool=self.pool.name,
                priority=self.priority,
                grace_seconds=self.timing.pod_grace_seconds,
                use=use,
                cache=self.model.cache,
                engine=engine,
                membership=membership,
            ),
            # The role with its policy, since a pod that starts without them would fail.
            after=[
                *cluster.before_pods,
                self.service_account,
                self.association,
                self.role,
                self.pool.node_pool,
                *self._create_membership(membership),
            ],
        )
        self.pod_disruption_budget = None
        is_on_demand = self.pool.nodes.capacity is Capacity.ON_DEMAND
        if is_on_demand and self.scaling.max_replicas > 1:
            self.pod_disruption_budget = apply_named_manifest(
                self,
                "PodDisruptionBudget",
                cluster=cluster,
                resource=workload.pod_disruption_budget(),
                # On deletion it goes first: without a Deployment it would allow no eviction.
                after=[self.deployment],
            )
        scaler_policies = self._allow_scaler()
        self.trigger_authentication = apply_named_manifest(
            self,
            "TriggerAuthentication",
            cluster=cluster,
            resource=workload.trigger_authentication(),
            after=cluster.before_scaling,
        )
        self.scaled_object = apply_named_manifest(
            self,
            "ScaledObject",
            cluster=cluster,
            resource=workload.scaled_object(
                scaling=self.scaling,
                queue_urls=[queue.queue_url for queue in self._task_queues.lanes],
                overflow_queue_url=None if overflow_queue is None else overflow_queue.queue_url,
                region=region,
            ),
            after=[self.deployment, self.trigger_authentication, *scaler_policies],
        )

    def _create_membership(self, membership: Membership | None) -> list[IDependable]:
        if membership is None:
            return []
        resources = {
            "MembersService": membership.service(),
            "MembersRole": membership.role(),
            "MembersRoleBinding": membership.role_binding(),
        }
        return [
            apply_named_manifest(
                self,
                id,
                cluster=self.cluster,
                resource=resource,
                after=[self.cluster.namespace_manifest],
            )
            for id, resource in resources.items()
        ]

    def _allow_scaler(self) -> list[IDependable]:
        """Let KEDA's operator read the queues.

        Its role is that of every runtime, and what policies of its own a role may have is limited:
        those of a runtime with very many lanes are managed ones.
        """
        first, *others = scaler_statements(self.queues)
        operator = self.cluster.keda_operator_role
        policy = iam.Policy(self, "ScalerPolicy", statements=[first], roles=[operator])
        acknowledge_own_policy(policy)
        return [
            policy,
            *(
                iam.ManagedPolicy(
                    self, f"ScalerPolicy{number}", statements=[statement], roles=[operator]
                )
                for number, statement in enumerate(others, start=2)
            ),
        ]
