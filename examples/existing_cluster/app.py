"""The service on a cluster that you run already, with your Karpenter and your KEDA.

What it must know of the cluster is in the context of cdk.json.
"""

from __future__ import annotations

from typing import Any

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_eks_v2 as eks
from aws_cdk import aws_iam as iam

from cdk_stable_diffusion import (
    ExistingKarpenter,
    ExistingKeda,
    Model,
    SdApi,
    SdEksCluster,
    SdObservability,
    SdRuntime,
)

app = cdk.App()
stack = cdk.Stack(app, "StableDiffusion")
known: dict[str, Any] = app.node.get_context("cluster")

# --- What is there. -----------------------------------------------------------------------------
vpc = ec2.Vpc.from_vpc_attributes(
    stack,
    "Vpc",
    vpc_id=known["vpcId"],
    availability_zones=known["availabilityZones"],
    private_subnet_ids=known["privateSubnetIds"],
    private_subnet_route_table_ids=known["privateRouteTableIds"],
)
imported = eks.Cluster.from_cluster_attributes(
    stack,
    "Imported",
    cluster_name=known["name"],
    cluster_security_group_id=known["securityGroupId"],
    vpc=vpc,
    # The functions that run kubectl and Helm, which the stack of the cluster made.
    kubectl_provider=eks.KubectlProvider.from_kubectl_provider_attributes(
        stack,
        "Kubectl",
        service_token=known["kubectlProviderArn"],
        role=iam.Role.from_role_arn(stack, "KubectlRole", known["kubectlRoleArn"], mutable=False),
    ),
)
node_role = iam.Role.from_role_arn(stack, "NodeRole", known["nodeRoleArn"], mutable=False)

# --- What runtimes add to it. -------------------------------------------------------------------
# Leave out `karpenter` or `keda`, and the one that is left out is installed.
cluster = SdEksCluster.from_cluster(
    stack,
    "Cluster",
    cluster=imported,
    vpc=vpc,
    karpenter=ExistingKarpenter(
        node_role=node_role,
        instance_profile=iam.InstanceProfile.from_instance_profile_name(
            stack, "NodeInstanceProfile", known["nodeInstanceProfile"]
        ),
    ),
    # Its role gets the right to read the length of each runtime's queue.
    keda=ExistingKeda(
        operator_role=iam.Role.from_role_arn(stack, "KedaRole", known["kedaRoleArn"])
    ),
)

api = SdApi(stack, "Api")
results = api.add_result_queue("Results")
SdRuntime(stack, "Sdxl", api=api, cluster=cluster, model=Model.static("sdxl-base-1.0"))
SdRuntime(stack, "AnyModel", api=api, cluster=cluster, model=Model.dynamic())
SdObservability(stack, "Observability", api=api)

cdk.CfnOutput(stack, "Endpoint", value=api.stage.url_for_path("/v1/tasks"))
cdk.CfnOutput(stack, "ApiKeyId", value=api.api_key.key_id)
cdk.CfnOutput(stack, "ModelBucket", value=api.model_bucket.bucket_name)
cdk.CfnOutput(stack, "OutputBucket", value=api.output_bucket.bucket_name)
cdk.CfnOutput(stack, "ResultQueue", value=results.queue.queue_url)

app.synth()
