"""The services whose policies and findings are looked at: between them, all that can be made."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from aws_cdk import App, Stack
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk.aws_cloudwatch import IAlarmAction
from aws_cdk.aws_cloudwatch_actions import SnsAction

from cdk_stable_diffusion.api import SdApi
from cdk_stable_diffusion.cluster import (
    ClusterEndpoint,
    Compute,
    RuntimeCluster,
    SdEksCluster,
    VpcEndpoints,
)
from cdk_stable_diffusion.observability import SdObservability
from cdk_stable_diffusion.runtime import (
    GpuNodes,
    ImageStart,
    InputBucket,
    InputImages,
    Model,
    SdRuntime,
)
from tests.manifests.compose import IMAGE
from tests.nag.nag import Audit, audit, recommended_flags


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """A service that was synthesised with cdk-nag attached.

    Attributes:
        templates: Its templates by stack.
        audit: What cdk-nag has to say.
    """

    templates: Mapping[str, dict[str, Any]]
    audit: Audit


def _default(stack: Stack) -> None:
    _complete(stack, SdApi(stack, "Api"), SdEksCluster(stack, "Cluster"))


def _own_keys(stack: Stack) -> None:
    """With keys of one's own wherever a key can be given, and people who hear of alarms.

    Input images come from buckets with such a key, from all of one and from a part of another.
    """
    key = kms.Key(stack, "YourKey", enable_key_rotation=True)
    api = SdApi(
        stack,
        "Api",
        encryption_key=key,
        log_encryption_key=kms.Key(stack, "YourLogKey", enable_key_rotation=True),
    )
    on_call = sns.Topic.from_topic_arn(
        stack, "YourTopic", stack.format_arn(service="sns", resource="on-call")
    )
    cluster = SdEksCluster(stack, "Cluster", secrets_encryption_key=key)
    images = InputImages(
        buckets=(
            s3.Bucket(stack, "YourUploads", encryption_key=key),
            InputBucket(bucket=s3.Bucket(stack, "YourShop"), prefix="products/"),
        ),
        hosts=("images.example.com",),
    )
    _complete(stack, api, cluster, alarm_actions=[SnsAction(on_call)], input_images=images)


def _endpoints(stack: Stack) -> None:
    """With an endpoint for every service, and a Kubernetes API that some reach from outside."""
    cluster = SdEksCluster(
        stack,
        "Cluster",
        vpc_endpoints=VpcEndpoints.aws_services(),
        endpoint_access=ClusterEndpoint.public_and_private("203.0.113.0/24"),
    )
    _complete(stack, SdApi(stack, "Api"), cluster)


def _snapshot(stack: Stack) -> None:
    """With nodes that start from a snapshot, which the runtime makes."""
    nodes = GpuNodes(image_start=ImageStart.snapshot())
    _complete(stack, SdApi(stack, "Api"), SdEksCluster(stack, "Cluster"), nodes=nodes)


def _auto_mode(stack: Stack) -> None:
    cluster = SdEksCluster(stack, "Cluster", compute=Compute.auto_mode())
    _complete(stack, SdApi(stack, "Api"), cluster)


def _existing_cluster(stack: Stack) -> None:
    """On an imported cluster that has neither Karpenter nor KEDA."""
    vpc = ec2.Vpc.from_vpc_attributes(
        stack,
        "YourVpc",
        vpc_id="vpc-1",
        availability_zones=["eu-west-1a", "eu-west-1b"],
        private_subnet_ids=["subnet-1", "subnet-2"],
        private_subnet_route_table_ids=["rtb-1", "rtb-2"],
    )
    role = iam.Role.from_role_arn(
        stack,
        "YourRole",
        stack.format_arn(service="iam", region="", resource="role", resource_name="kubectl"),
        mutable=False,
    )
    imported = eks.Cluster.from_cluster_attributes(
        stack,
        "YourCluster",
        cluster_name=YOUR_CLUSTER,
        cluster_security_group_id="sg-1",
        vpc=vpc,
        kubectl_provider=eks.KubectlProvider.from_kubectl_provider_attributes(
            stack, "YourKubectl", service_token="arn:aws:lambda:::function:kubectl", role=role
        ),
    )
    cluster = SdEksCluster.from_cluster(stack, "Cluster", cluster=imported, vpc=vpc)
    _complete(stack, SdApi(stack, "Api"), cluster)


def _complete(
    stack: Stack,
    api: SdApi,
    cluster: RuntimeCluster,
    alarm_actions: Sequence[IAlarmAction] = (),
    nodes: GpuNodes | None = None,
    input_images: InputImages | None = None,
) -> None:
    api.add_result_queue("Results")
    for id, grant in {
        "YourBackend": api.grants.read_outputs,
        "YourPipeline": api.grants.write_models,
    }.items():
        grant(iam.Role(stack, id, assumed_by=iam.ServicePrincipal("ec2.amazonaws.com")))
    for id, model, own_nodes in (
        ("Runtime", Model.dynamic(), nodes),
        ("StaticRuntime", Model.static("sdxl"), None),
    ):
        SdRuntime(
            stack,
            id,
            api=api,
            cluster=cluster,
            model=model,
            image=IMAGE,
            nodes=own_nodes,
            input_images=input_images,
        )
    SdObservability(stack, "Observability", api=api, alarm_actions=alarm_actions)


YOUR_CLUSTER = "your-cluster"
"""Name of the cluster that is imported."""

_SCENES: Mapping[str, Callable[[Stack], None]] = {
    "default": _default,
    "own-keys": _own_keys,
    "endpoints": _endpoints,
    "snapshot": _snapshot,
    "auto-mode": _auto_mode,
    "existing-cluster": _existing_cluster,
}

SCENES = [(name, flags) for name in _SCENES for flags in (False, True)]
"""Every scene, without the feature flags of new apps and with them."""


@cache
def scene(name: str, flags: bool) -> Scene:
    """Return a service, synthesised once.

    Args:
        name: Its name in `SCENES`.
        flags: Whether the app has the feature flags that ``cdk init`` writes.
    """
    context = recommended_flags() if flags else {}
    app = App(context={**context, "aws:cdk:enable-path-metadata": True})
    _SCENES[name](Stack(app, "Service"))
    said = audit(app)
    return Scene(
        templates={
            file.name.removesuffix(".template.json"): json.loads(file.read_text())
            for file in sorted(Path(app.outdir).glob("*.template.json"))
        },
        audit=Audit(
            findings=tuple(each for each in said.findings if not _is_yours(each.construct)),
            acknowledgements=said.acknowledgements,
        ),
    )


def _is_yours(construct: str) -> bool:
    """Tell whether a construct stands for one of a user, who judges what is found on it."""
    return "/Your" in construct
