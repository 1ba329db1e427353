"""The service on EKS Auto Mode: AWS runs Karpenter, the nodes and the basic add-ons."""

from __future__ import annotations

import aws_cdk as cdk

from cdk_stable_diffusion import (
    Compute,
    GpuNodes,
    Model,
    SdApi,
    SdEksCluster,
    SdObservability,
    SdRuntime,
)

app = cdk.App()
stack = cdk.Stack(app, "StableDiffusion")

api = SdApi(stack, "Api")
results = api.add_result_queue("Results")

# What makes it Auto Mode is this one line. No node group, no chart of Karpenter.
cluster = SdEksCluster(stack, "Cluster", compute=Compute.auto_mode())

SdRuntime(
    stack,
    "Sdxl",
    api=api,
    cluster=cluster,
    model=Model.static("sdxl-base-1.0"),
    # AWS replaces each node of Auto Mode after 21 days at the latest, this after a week.
    nodes=GpuNodes(expire_after=cdk.Duration.days(7), max_gpus=4),
)
SdRuntime(stack, "AnyModel", api=api, cluster=cluster, model=Model.dynamic())

SdObservability(stack, "Observability", api=api)

cdk.CfnOutput(stack, "Endpoint", value=api.stage.url_for_path("/v1/tasks"))
cdk.CfnOutput(stack, "ApiKeyId", value=api.api_key.key_id)
cdk.CfnOutput(stack, "ModelBucket", value=api.model_bucket.bucket_name)
cdk.CfnOutput(stack, "OutputBucket", value=api.output_bucket.bucket_name)
cdk.CfnOutput(stack, "ResultQueue", value=results.queue.queue_url)

app.synth()
