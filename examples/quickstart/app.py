"""The whole service in one stack: an API, one static and one dynamic runtime, a cluster for them.

``sd-local up`` runs this very template on one machine; ``cdk deploy`` runs it on AWS.
"""

from __future__ import annotations

import aws_cdk as cdk

from cdk_stable_diffusion import Model, SdApi, SdEksCluster, SdObservability, SdRuntime

app = cdk.App()
stack = cdk.Stack(app, "StableDiffusion")

api = SdApi(stack, "Api")
results = api.add_result_queue("Results")
cluster = SdEksCluster(stack, "Cluster")

# Preloads one model and takes only its prompts.
SdRuntime(stack, "TinyShapes", api=api, cluster=cluster, model=Model.static("tiny-shapes"))
# Takes every prompt for another model, and loads that model when it is asked for.
SdRuntime(stack, "AnyModel", api=api, cluster=cluster, model=Model.dynamic())

SdObservability(stack, "Observability", api=api)

cdk.CfnOutput(stack, "Endpoint", value=api.stage.url_for_path("/v1/tasks"))
cdk.CfnOutput(stack, "ApiKeyId", value=api.api_key.key_id)
cdk.CfnOutput(stack, "ModelBucket", value=api.model_bucket.bucket_name)
cdk.CfnOutput(stack, "OutputBucket", value=api.output_bucket.bucket_name)
cdk.CfnOutput(stack, "ResultQueue", value=results.queue.queue_url)

app.synth()
