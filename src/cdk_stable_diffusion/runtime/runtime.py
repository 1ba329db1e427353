"""SdRuntime: pods that serve some models, or all, from one queue."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from aws_cdk import Annotations, Duration, Stack
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from .._acknowledge import acknowledge_wildcards
from .._validation import A_WHOLE_NUMBER, Faults, is_token
from ..api import SdApi
from ..api.marks import mark
from ..api.routes import RouteRegistry
from ..cluster import SdEksCluster
from ..cluster.manifest import apply_manifest
from ..cluster.pod_identity import associate_role, pod_role
from ..contract.environment import MOST_RETURNS, AgentEnvironment
from ..contract.names import RUNTIME_NAME_SAYS, is_model_name, is_runtime_name
from ..contract.routing import DYNAMIC
from ..contract.template import TASK_DEAD_LETTER_QUEUE, TASK_QUEUE
from .gpu_nodes import GpuNodes
from .image import RuntimeImage
from .model import Model
from .node_pool import node_class, node_pool
from .permissions import agent_statements, scaler_statements
from .scaling import Scaling
from .seconds import check_seconds, whole_seconds
from .timing import LEASE_SECONDS, MAX_TASK_SECONDS, MIN_TASK_SECONDS, Timing
from .workload import HEALTH_PORT, MODEL_CACHE_DIRECTORY, Workload

_DEAD_LETTER_DAYS = 14
_SQS_MAX_RECEIVE_COUNT = 1_000
# Once more than there are tries, so that an agent, not SQS, gives up a task whose tries were all
# cut short, and its client hears of it; and as often more as a task may be given back untried,
# which SQS counts like any other receiving.
_MORE_RECEIVES_THAN_TRIES = 1 + MOST_RETURNS
_MAX_RECEIVE_COUNT = _SQS_MAX_RECEIVE_COUNT - _MORE_RECEIVES_THAN_TRIES
_MAX_MODEL_CACHE_GIBIBYTES = 10_000

FEWER_GPUS_WARNING = "cdk-stable-diffusion:fewer-gpus-than-pods"


class SdRuntime(Construct):
    """GPU pods that take tasks from a queue of their own.

    Tasks reach the queue by a filter on the API's request topic. KEDA sets the number of pods by
    the depth of the queue, and Karpenter launches and ends the nodes for them. An idle runtime has
    no pod and no node unless `Scaling.min_replicas` says so.

    Example:
        >>> SdRuntime(  # doctest: +SKIP
        ...     stack, "Sdxl", api=api, cluster=cluster, model=Model.static("sdxl-base-1.0")
        ... )

    Attributes:
        name: The runtime's name.
        cluster: Where its pods run.
        model: Which models it serves.
        scaling: How it follows its queue.
        nodes: Which nodes it may launch.
        timing: The times that follow from its longest task.
        queue: Its tasks.
        dead_letter_queue: Tasks that failed time after time, and what was no task.
        subscription: The queue's subscription to the request topic.
        role: Role of its pods.
        association: Gives the role to its pods.
        image_uri: Its container image.
        service_account: Manifest of the service account.
        deployment: Manifest of the pods.
        trigger_authentication: Manifest by which KEDA reads the queue.
        scaled_object: Manifest by which KEDA scales the pods.
        node_class: Manifest of what its nodes are.
        node_pool: Manifest of when it has nodes.
    """

    name: str
    cluster: SdEksCluster
    model: Model
    scaling: Scaling
    nodes: GpuNodes
    timing: Timing
    queue: sqs.Queue
    dead_letter_queue: sqs.Queue
    subscription: sns.CfnSubscription
    role: iam.Role
    association: eks.CfnPodIdentityAssociation
    image_uri: str
    service_account: eks.KubernetesManifest
    deployment: eks.KubernetesManifest
    trigger_authentication: eks.KubernetesManifest
    scaled_object: eks.KubernetesManifest
    node_class: eks.KubernetesManifest
    node_pool: eks.KubernetesManifest

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        api: SdApi,
        cluster: SdEksCluster,
        model: Model,
        name: str | None = None,
        longest_task: Duration | None = None,
        max_receive_count: int = 3,
        scaling: Scaling | None = None,
        nodes: GpuNodes | None = None,
        image: RuntimeImage | None = None,
        model_cache_gibibytes: int = 100,
    ) -> None:
        """Make a runtime.

        Args:
            scope: Parent construct; it may be in another stack than `api` and `cluster`. Then the
                API's stack is deployed first, and tasks for a runtime that is new are lost until
                its own stack is deployed, too: deploy both before clients send any.
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
            nodes: Which nodes it may launch. Default: `GpuNodes()`.
            image: Its container image. Default: `RuntimeImage.from_package()`.
            model_cache_gibibytes: Space for models on a node's local disks. Default: 100.

        Raises:
            ValueError: Naming every argument that is wrong, also where another runtime already
                has the name or a model.
        """
        self.name = _kebab_case(id) if name is None else name
        self.cluster = cluster
        self.model = model
        self.scaling = Scaling() if scaling is None else scaling
        self.nodes = GpuNodes() if nodes is None else nodes
        self._check(
            where=f"SdRuntime {scope.node.path}/{id}",
            api=api,
            cluster=cluster,
            longest_task=longest_task,
            max_receive_count=max_receive_count,
            image=image,
            model_cache_gibibytes=model_cache_gibibytes,
        )
        super().__init__(scope, id)
        self._warn_of_few_gpus()
        self.timing = Timing(longest_task_seconds=whole_seconds(longest_task, default=300))
        self._create_queues(max_receive_count)
        self.subscription = self._subscribe(api)
        self.role = self._create_role(api)
        self.association = associate_role(
            self,
            "Association",
            cluster=cluster.cluster,
            namespace=cluster.namespace,
            service_account=self.name,
            role=self.role,
        )
        self.image_uri = (image or RuntimeImage.from_package())._bind(self)
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
            model_cache_bytes=model_cache_gibibytes * 1024**3,
            health_port=HEALTH_PORT,
        ).to_environment()
        # Kubernetes evicts a pod that reaches the limit, so the agent's own one is lower.
        limit_gibibytes = model_cache_gibibytes + max(1, model_cache_gibibytes // 10)
        self._create_nodes(cluster, local_disk_gibibytes=limit_gibibytes)
        self._create_workload(cluster, environment, limit_gibibytes)
        api.routes.announce(self)

    def _check(
        self,
        *,
        where: str,
        api: SdApi,
        cluster: SdEksCluster,
        longest_task: Duration | None,
        max_receive_count: int,
        image: RuntimeImage | None,
        model_cache_gibibytes: int,
    ) -> None:
        faults = Faults()
        is_api = faults.check_type("api", api, SdApi, "an SdApi")
        is_cluster = faults.check_type("cluster", cluster, SdEksCluster, "an SdEksCluster")
        is_model = faults.check_type("model", self.model, Model, _model_hint(self.model))
        faults.check_type("image", image, RuntimeImage, _image_hint(image), optional=True)
        check_seconds(
            faults, "longest_task", longest_task, least=MIN_TASK_SECONDS, most=MAX_TASK_SECONDS
        )
        if faults.check_type("max_receive_count", max_receive_count, int, A_WHOLE_NUMBER):
            faults.check(
                1 <= max_receive_count <= _MAX_RECEIVE_COUNT,
                f"max_receive_count is {max_receive_count}: 1 to {_MAX_RECEIVE_COUNT}",
            )
        if faults.check_type("model_cache_gibibytes", model_cache_gibibytes, int, A_WHOLE_NUMBER):
            faults.check(
                1 <= model_cache_gibibytes <= _MAX_MODEL_CACHE_GIBIBYTES,
                f"model_cache_gibibytes is {model_cache_gibibytes}: "
                f"1 to {_MAX_MODEL_CACHE_GIBIBYTES}",
            )
        self._check_gpus(faults)
        if faults.check_type("name", self.name, str, RUNTIME_NAME_SAYS):
            is_name = not is_token(self.name) and is_runtime_name(self.name)
            faults.check(is_name, f"name is {self.name!r}: {RUNTIME_NAME_SAYS}")
            # The route and the name are taken before anything is made, so that a refusal of
            # either comes with the other faults.
            if is_name and is_api and is_model:
                _claim(faults, partial(self._claim_route, api.routes))
            if is_name and is_cluster:
                _claim(faults, partial(cluster._reserve_runtime_name, self.name))
        faults.raise_if_any(where)

    def _check_gpus(self, faults: Faults) -> None:
        is_scaling = faults.check_type(
            "scaling", self.scaling, Scaling, "a Scaling, such as Scaling(max_replicas=3)"
        )
        is_nodes = faults.check_type(
            "nodes", self.nodes, GpuNodes, "a GpuNodes, such as GpuNodes(max_gpus=3)"
        )
        if is_scaling and is_nodes and self.nodes.max_gpus is not None:
            faults.check(
                self.nodes.max_gpus >= self.scaling.min_replicas,
                f"nodes.max_gpus is {self.nodes.max_gpus}: at least scaling.min_replicas, "
                f"{self.scaling.min_replicas}, since each pod needs a GPU",
            )

    def _warn_of_few_gpus(self) -> None:
        gpus, pods = self.nodes.max_gpus, self.scaling.max_replicas
        if gpus is not None and gpus < pods:
            Annotations.of(self).add_warning_v2(
                FEWER_GPUS_WARNING,
                f"nodes.max_gpus is {gpus} and scaling.max_replicas {pods}: each pod needs a GPU, "
                f"so that no more than {gpus} will run and the others wait in vain",
            )

    def _claim_route(self, routes: RouteRegistry) -> None:
        if self.model.runtime_class == DYNAMIC:
            routes.add_dynamic(self.name)
        else:
            routes.add_static(self.name, self.model.names)

    def _create_queues(self, max_receive_count: int) -> None:
        self.dead_letter_queue = sqs.Queue(
            self,
            "DeadLetterQueue",
            retention_period=Duration.days(_DEAD_LETTER_DAYS),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        self.queue = sqs.Queue(
            self,
            "Queue",
            visibility_timeout=Duration.seconds(self.timing.visibility_seconds),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            dead_letter_queue=sqs.DeadLetterQueue(
                queue=self.dead_letter_queue,
                max_receive_count=max_receive_count + _MORE_RECEIVES_THAN_TRIES,
            ),
        )
        mark(self.queue, TASK_QUEUE)
        mark(self.dead_letter_queue, TASK_DEAD_LETTER_QUEUE)

    def _subscribe(self, api: SdApi) -> sns.CfnSubscription:
        topic_arn = api.request_topic.topic_arn
        self.queue.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AllowRequestTopic",
                principals=[iam.ServicePrincipal("sns.amazonaws.com")],
                actions=["sqs:SendMessage"],
                resources=[self.queue.queue_arn],
                conditions={"ArnEquals": {"aws:SourceArn": topic_arn}},
            )
        )
        subscription = sns.CfnSubscription(
            self,
            "Subscription",
            topic_arn=topic_arn,
            protocol="sqs",
            endpoint=self.queue.queue_arn,
            raw_message_delivery=True,
            filter_policy=api.routes.lazy_filter_policy(self.name),
        )
        policy = self.queue.node.find_child("Policy")
        # Before the policy is there, the topic could not deliver what it is told to.
        subscription.node.add_dependency(policy)
        api.update_order.add(subscription, is_dynamic=self.model.runtime_class == DYNAMIC)
        return subscription

    def _create_role(self, api: SdApi) -> iam.Role:
        role = pod_role(self, "Role", description=f"Pods of the runtime {self.name}")
        statements = agent_statements(
            api=api, queue=self.queue, dead_letter_queue=self.dead_letter_queue
        )
        for statement in statements:
            role.add_to_policy(statement)
        acknowledge_wildcards(
            role,
            resources=[
                resource
                for statement in statements
                for resource in statement.resources
                if resource.endswith("*")
            ],
            reason="The names of pictures and of models are known only when requests come: the "
            "grant is on the objects of one bucket, and on those under models/ of the other.",
        )
        return role

    def _create_nodes(self, cluster: SdEksCluster, *, local_disk_gibibytes: int) -> None:
        max_gpus = self.nodes.max_gpus
        self.node_class = apply_manifest(
            self,
            "NodeClass",
            cluster=cluster.cluster,
            resource=node_class(
                self.name,
                nodes=self.nodes,
                instance_profile=cluster.instance_profile.instance_profile_name,
                subnet_ids=[subnet.subnet_id for subnet in cluster.vpc.private_subnets],
                security_group_id=cluster.cluster.cluster_security_group_id,
            ),
            after=[cluster.karpenter_chart, cluster.node_access_entry],
        )
        self.node_pool = apply_manifest(
            self,
            "NodePool",
            cluster=cluster.cluster,
            resource=node_pool(
                self.name,
                nodes=self.nodes,
                max_gpus=self.scaling.max_replicas if max_gpus is None else max_gpus,
                local_disk_gibibytes=self.nodes.image_start._min_local_disk_gibibytes(
                    local_disk_gibibytes
                ),
                grace_seconds=self.timing.node_grace_seconds,
            ),
            # On deletion, pods that are still drained with their nodes keep the role.
            after=[self.node_class, self.association, self.role],
        )

    def _create_workload(
        self, cluster: SdEksCluster, environment: dict[str, str], limit_gibibytes: int
    ) -> None:
        workload = Workload(name=self.name, namespace=cluster.namespace)
        region = Stack.of(self).region
        self.service_account = apply_manifest(
            self,
            "ServiceAccount",
            cluster=cluster.cluster,
            resource=workload.service_account(),
            after=[cluster.namespace_manifest],
        )
        self.deployment = apply_manifest(
            self,
            "Deployment",
            cluster=cluster.cluster,
            resource=workload.deployment(
                image=self.image_uri,
                environment={**environment, "AWS_REGION": region},
                grace_seconds=self.timing.pod_grace_seconds,
                model_cache_limit_gibibytes=limit_gibibytes,
            ),
            # The role with its policy, since a pod that starts without them would fail.
            after=[self.service_account, self.association, self.role, self.node_pool],
        )
        scaler_policy = iam.Policy(
            self,
            "ScalerPolicy",
            statements=scaler_statements(self.queue),
            roles=[cluster.keda_operator_role],
        )
        self.trigger_authentication = apply_manifest(
            self,
            "TriggerAuthentication",
            cluster=cluster.cluster,
            resource=workload.trigger_authentication(),
            after=[cluster.keda_chart, cluster.namespace_manifest],
        )
        self.scaled_object = apply_manifest(
            self,
            "ScaledObject",
            cluster=cluster.cluster,
            resource=workload.scaled_object(
                scaling=self.scaling, queue_url=self.queue.queue_url, region=region
            ),
            after=[self.deployment, self.trigger_authentication, scaler_policy],
        )


def _claim(faults: Faults, claim: Callable[[], None]) -> None:
    try:
        claim()
    except ValueError as refusal:
        faults.check(False, str(refusal))


def _model_hint(model: object) -> str:
    name = model if isinstance(model, str) and is_model_name(model) else "sdxl"
    return f"a Model, such as Model.static({name!r})"


def _image_hint(image: object) -> str:
    uri = image if isinstance(image, str) else "registry/name@sha256:..."
    return f"a RuntimeImage, such as RuntimeImage.from_registry({uri!r})"


def _kebab_case(id: str) -> str:
    """Return an identifier such as ``SdxlTurbo`` as ``sdxl-turbo``."""
    words = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3-\2\4", id)
    return re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
