"""A service for production: two stacks, three runtimes, nodes that start from a snapshot.

``Cluster`` changes seldom and ``Service`` often, so that they are stacks of their own. The runtimes
are in the API's stack: a request for a new runtime's model finds its queue from the first moment.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns

from cdk_stable_diffusion import (
    Capacity,
    ClusterEndpoint,
    DisruptionBudget,
    DisruptionReason,
    DisruptionWindow,
    GpuNodes,
    ImageCache,
    ImageStart,
    Model,
    Priority,
    RuntimeImage,
    Scaling,
    SdApi,
    SdEksCluster,
    SdNodePool,
    SdObservability,
    SdRuntime,
    Throttle,
    VpcEndpoints,
)

app = cdk.App()

# --- The cluster: network, Kubernetes, Karpenter and KEDA. ----------------------------------------
platform = cdk.Stack(app, "Cluster")
cluster = SdEksCluster(
    platform,
    "Cluster",
    # A NAT gateway in each zone: a zone that fails does not take the other's way out with it.
    nat_gateways=2,
    # What nodes and pods call of AWS stays in the network.
    vpc_endpoints=VpcEndpoints.aws_services(),
    # kubectl from the office; nodes come in from the network.
    endpoint_access=ClusterEndpoint.public_and_private("203.0.113.0/24"),
)

# --- The API, and who is told when something is wrong. ----------------------------------------
service = cdk.Stack(app, "Service")
api = SdApi(
    service,
    "Api",
    throttle=Throttle(rate_per_second=100, burst=200),
    output_lifecycle=cdk.Duration.days(90),
)
# One queue for what the product shows, one for what somebody looks into.
pictures = api.add_result_queue("Pictures", status="succeeded")
failures = api.add_result_queue("Failures", status="failed")
# Alarms cannot send to a topic with the AWS managed key, so this key lets CloudWatch use it.
alarm_key = kms.Key(service, "AlarmKey", enable_key_rotation=True)
alarm_key.grant(
    iam.ServicePrincipal("cloudwatch.amazonaws.com"), "kms:Decrypt", "kms:GenerateDataKey"
)
on_call = sns.Topic(service, "OnCall", master_key=alarm_key, enforce_ssl=True)

# --- The runtimes. ------------------------------------------------------------------------------
# One image for all, so that one snapshot holds it. It is made anew when the image changes.
image = RuntimeImage.from_package()
image_cache = ImageCache(service, "ImageCache", images=[image], vpc=cluster.vpc)

# People wait for these pictures: its own nodes, which start with the image on their disks, pods
# that go before others, and a short target.
SdRuntime(
    service,
    "Portraits",
    api=api,
    cluster=cluster,
    model=Model.static("sdxl-base-1.0"),
    image=image,
    priority=Priority.HIGH,
    scaling=Scaling(target_latency=cdk.Duration.seconds(30), seconds_per_image=8, max_replicas=8),
    nodes=GpuNodes(
        families=("g6", "g6e", "gr6"),
        max_gpus=8,
        image_start=ImageStart.snapshot(image_cache),
        budgets=(
            DisruptionBudget.of_percent(100, DisruptionReason.EMPTY),
            DisruptionBudget.of_nodes(1, DisruptionReason.DRIFTED),
            # New images and settings reach nodes that work at night only.
            DisruptionBudget.of_nodes(
                0,
                DisruptionReason.DRIFTED,
                during=DisruptionWindow(
                    schedule="0 6 * * mon-fri", duration=cdk.Duration.hours(14)
                ),
            ),
        ),
    ),
)

# These may take minutes. They share nodes, and with them one limit to the cost.
shared_nodes = SdNodePool(
    service,
    "SharedNodes",
    cluster=cluster,
    nodes=GpuNodes(capacity=Capacity.SPOT, max_gpus=6),
)
SdRuntime(
    service,
    "Posters",
    api=api,
    cluster=cluster,
    model=Model.static("poster-xl", "poster-lineart"),
    image=image,
    nodes=shared_nodes,
    longest_task=cdk.Duration.minutes(8),
    scaling=Scaling(target_latency=cdk.Duration.minutes(5), seconds_per_image=20, max_replicas=4),
)
SdRuntime(
    service,
    "AnyModel",
    api=api,
    cluster=cluster,
    # Said, and not left to max_replicas: a lane that goes takes along what waits in it.
    model=Model.dynamic(lanes=8),
    image=image,
    nodes=shared_nodes,
    priority=Priority.LOW,
    scaling=Scaling(target_latency=cdk.Duration.minutes(10), seconds_per_image=15, max_replicas=4),
)

# --- What people look at, and what calls them. --------------------------------------------------
SdObservability(service, "Observability", api=api, alarm_actions=[actions.SnsAction(on_call)])

cdk.CfnOutput(service, "Endpoint", value=api.stage.url_for_path("/v1/tasks"))
cdk.CfnOutput(service, "ApiKeyId", value=api.api_key.key_id)
cdk.CfnOutput(service, "ModelBucket", value=api.model_bucket.bucket_name)
cdk.CfnOutput(service, "OutputBucket", value=api.output_bucket.bucket_name)
cdk.CfnOutput(service, "PictureQueue", value=pictures.queue.queue_url)
cdk.CfnOutput(service, "FailureQueue", value=failures.queue.queue_url)
cdk.CfnOutput(service, "OnCallTopic", value=on_call.topic_arn)
cdk.CfnOutput(service, "Snapshot", value=image_cache.snapshot_id)

app.synth()
