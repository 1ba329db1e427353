"""Karpenter, which launches and ends GPU nodes."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, Stack
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from constructs import Construct, IDependable

from .._acknowledge import acknowledge, acknowledge_wildcards
from .chart import install_chart
from .interface import AnyCluster
from .karpenter_policy import controller_documents, wildcard_resources
from .pod_identity import associate_role, pod_role
from .versions import VERSIONS

_NAMESPACE = "kube-system"
_SERVICE_ACCOUNT = "karpenter"
_REPOSITORY = "oci://public.ecr.aws/karpenter"

_NOTICES = {
    "ScheduledChange": ("aws.health", "AWS Health Event"),
    "SpotInterruption": ("aws.ec2", "EC2 Spot Instance Interruption Warning"),
    "Rebalance": ("aws.ec2", "EC2 Instance Rebalance Recommendation"),
    "InstanceStateChange": ("aws.ec2", "EC2 Instance State-change Notification"),
    "CapacityReservationInterruption": (
        "aws.ec2",
        "EC2 Capacity Reservation Instance Interruption Warning",
    ),
}

_READS = (
    "As in Karpenter's reference template: these actions only read. Most have no resource to name, "
    "images and instance profiles are looked up by name, and the zonal shift of no other cluster "
    "can be read."
)
_LAUNCHES = (
    "As in Karpenter's reference template: EC2 names what a launch makes only then, and a launch "
    "uses images, subnets and security groups that node classes choose. What is made, tagged and "
    "ended must have the tags of this cluster."
)


class InterruptionQueue(Construct):
    """Brings notices of spot interruptions and the like to Karpenter.

    Attributes:
        queue: The queue that Karpenter reads.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        """Make the queue and the rules that fill it.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
        """
        super().__init__(scope, id)
        self.queue = sqs.Queue(
            self,
            "Queue",
            # A notice is of use for minutes: a spot instance is gone two minutes after its own.
            retention_period=Duration.minutes(5),
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
        )
        acknowledge(
            self.queue,
            {
                "AwsSolutions-SQS3": "Notices are out of date after minutes: nobody would read "
                "them from a dead-letter queue."
            },
        )
        for name, (source, detail_type) in _NOTICES.items():
            events.Rule(
                self,
                name,
                event_pattern=events.EventPattern(source=[source], detail_type=[detail_type]),
                targets=[targets.SqsQueue(self.queue)],
            )


class KarpenterController(Construct):
    """What must stay for as long as the controller runs: its role and the interruption queue.

    Attributes:
        role: Role of the controller.
        interruptions: Queue of interruption notices, with the rules that fill it.
    """

    def __init__(
        self, scope: Construct, id: str, *, cluster: AnyCluster, gpu_node_role: iam.IRole
    ) -> None:
        """Make them.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster of the controller.
            gpu_node_role: Role that it passes to its nodes.
        """
        super().__init__(scope, id)
        stack = Stack.of(self)
        self.interruptions = InterruptionQueue(self, "Interruptions")
        self.role = pod_role(
            self,
            "Role",
            cluster=cluster,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            description="Karpenter controller",
        )
        documents = controller_documents(
            stack,
            cluster_name=cluster.cluster_name,
            node_role_arn=gpu_node_role.role_arn,
            interruption_queue_arn=self.interruptions.queue.queue_arn,
        )
        for name, document in documents.items():
            iam.CfnManagedPolicy(
                self,
                name,
                description=f"Karpenter controller: {name}",
                policy_document=document,
                roles=[self.role.role_name],
            )
        for name, document in documents.items():
            acknowledge_wildcards(
                self,
                resources=wildcard_resources(document),
                reason=_LAUNCHES if name == "NodeLifecycle" else _READS,
            )
        associate_role(
            self,
            "Association",
            cluster=cluster,
            namespace=_NAMESPACE,
            service_account=_SERVICE_ACCOUNT,
            role=self.role,
        )


class Karpenter(Construct):
    """Karpenter's charts and what they need.

    Attributes:
        controller: Role and interruption queue of the controller.
        custom_resources_chart: The custom resource definitions. They have a chart of their own,
            since Helm never upgrades those inside another chart.
        chart: The controller.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        cluster: AnyCluster,
        gpu_node_role: iam.IRole,
        after: Sequence[IDependable],
    ) -> None:
        """Install Karpenter.

        Args:
            scope: Parent construct.
            id: Identifier in the parent.
            cluster: Cluster that gets it.
            gpu_node_role: Role that it passes to its nodes.
            after: What must exist first, such as nodes that the controller itself runs on.
        """
        super().__init__(scope, id)
        self.controller = KarpenterController(
            self, "Controller", cluster=cluster, gpu_node_role=gpu_node_role
        )
        self.custom_resources_chart = install_chart(
            self,
            "CustomResourcesChart",
            cluster=cluster,
            name="karpenter-crd",
            repository=f"{_REPOSITORY}/karpenter-crd",
            version=VERSIONS.karpenter,
            namespace=_NAMESPACE,
            after=after,
        )
        self.chart = install_chart(
            self,
            "Chart",
            cluster=cluster,
            name="karpenter",
            repository=f"{_REPOSITORY}/karpenter",
            version=VERSIONS.karpenter,
            namespace=_NAMESPACE,
            values={
                # No feature gate: above all not nodeRepair, which is alpha. It would end a healthy
                # GPU node each ten minutes where the node monitoring agent cannot see its GPU.
                "settings": {
                    "clusterName": cluster.cluster_name,
                    "interruptionQueue": self.controller.interruptions.queue.queue_name,
                },
                "serviceAccount": {"create": True, "name": _SERVICE_ACCOUNT},
                # The chart spreads them over nodes and zones: the system nodes must be two.
                "replicas": 2,
                # It must not wait for CoreDNS, whose nodes it may one day have to launch.
                "dnsPolicy": "Default",
                "controller": {
                    # Without it, the controller would ask the instance's metadata.
                    "env": [{"name": "AWS_REGION", "value": Stack.of(self).region}],
                    "resources": {
                        "requests": {"cpu": "500m", "memory": "1Gi"},
                        "limits": {"memory": "1Gi"},
                    },
                },
            },
            after=[self.custom_resources_chart, self.controller, *after],
        )
