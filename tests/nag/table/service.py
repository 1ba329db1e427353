"""Wildcards of the API, the runtimes, the keys, and the functions that run kubectl."""

from __future__ import annotations

from .rows import REFERENCE, VERSIONS_OF_A_FUNCTION, Wildcard

_THIS_KEY = (
    'In the policy of a key, "*" is that key: a key has no other way to name itself in the policy '
    "that it is made with."
)

_ANY_TASK = (
    "The resource of this action is an object. A request says in which folder its task's own "
    "folder shall lie, and the task gets a new id: only the last part of a name is known before."
)

SERVICE: tuple[Wildcard, ...] = (
    Wildcard(
        who="Function of the API",
        where="Api/Handler/Role/DefaultPolicy",
        actions=("xray:PutTraceSegments", "xray:PutTelemetryRecords"),
        resources=("*",),
        reason="X-Ray has no resource for the traces that are sent to it.",
        documentation=f"{REFERENCE}awsx-ray.html",
    ),
    Wildcard(
        who="Function of the API",
        where="Api/Handler/Role/DefaultPolicy",
        actions=("s3:GetObject",),
        resources=(
            "{Api/OutputBucket.Arn}/*/result.json",
            "{Api/OutputBucket.Arn}/*/progress.json",
            "{Api/OutputBucket.Arn}/*/cancel.json",
        ),
        reason=_ANY_TASK,
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Function of the API",
        where="Api/Handler/Role/DefaultPolicy",
        actions=("s3:PutObject",),
        resources=("{Api/OutputBucket.Arn}/*/cancel.json",),
        reason=_ANY_TASK,
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Pods of a runtime",
        where="*Runtime/Role/DefaultPolicy",
        actions=("s3:DeleteObject",),
        resources=("{Api/OutputBucket.Arn}/.returned/*",),
        reason="The resource of this action is an object. Each is named after a message, whose id "
        "SQS makes up. No task's folder can lie there.",
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Pods of a runtime",
        where="*Runtime/Role/DefaultPolicy",
        actions=("s3:PutObject", "s3:GetObject"),
        resources=("{Api/OutputBucket.Arn}/*",),
        reason="The resource of these actions is an object. A request says in which folder its "
        "pictures shall lie, and its task has an id of its own: no name is known before.",
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Pods of a runtime",
        where="*Runtime/Role/DefaultPolicy",
        actions=("s3:GetObject",),
        resources=("{Api/ModelBucket.Arn}/models/*",),
        reason="The resource of this action is an object. Models are published while the service "
        "runs, and each has as many files as it likes.",
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Pods of a runtime with `InputImages(buckets=...)`",
        where="*Runtime/Role/DefaultPolicy",
        actions=("s3:GetObject",),
        resources=("{YourUploads.Arn}/*", "{YourShop.Arn}/products/*"),
        reason="The resource of this action is an object, and a request names the pictures that it "
        "begins with. `InputBucket` narrows it to a part of a bucket.",
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Whoever is granted `api.grants.read_outputs`",
        where="YourBackend/DefaultPolicy",
        actions=("s3:GetObject",),
        resources=("{Api/OutputBucket.Arn}/*",),
        reason="The resource of this action is an object, and pictures are named after tasks that "
        "are still to come.",
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Whoever is granted `api.grants.write_models`",
        where="YourPipeline/DefaultPolicy",
        actions=(
            "s3:PutObject",
            "s3:GetObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ),
        resources=("{Api/ModelBucket.Arn}/models/*",),
        reason="The resource of these actions is an object, and which models will be published is "
        "not known when the grant is made.",
        documentation=f"{REFERENCE}amazons3.html",
    ),
    Wildcard(
        who="Key for Kubernetes secrets, for the account",
        where="Cluster/SecretsEncryptionKey",
        actions=("kms:*",),
        resources=("*",),
        reason="The statement of every key's default policy, by which the account's IAM policies "
        "decide who may use the key: without it nobody could change the key any more. " + _THIS_KEY,
        documentation="https://docs.aws.amazon.com/kms/latest/developerguide/key-policy-default.html",
    ),
    Wildcard(
        who="CloudWatch Logs, with a log key that the app makes",
        where="YourLogKey",
        actions=(
            "kms:Encrypt",
            "kms:Decrypt",
            "kms:ReEncryptFrom",
            "kms:ReEncryptTo",
            "kms:GenerateDataKey",
            "kms:GenerateDataKeyWithoutPlaintext",
            "kms:DescribeKey",
        ),
        resources=("*",),
        conditions=("ArnLike kms:EncryptionContext:aws:logs:arn",),
        reason=_THIS_KEY + " The condition limits it to log groups of this account and region.",
        documentation="https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/encrypt-log-data-kms.html",
    ),
    Wildcard(
        who="AWS CDK's framework for custom resources",
        where="Cluster/Cluster/KubectlProvider/Provider/framework-onEvent/ServiceRole/DefaultPolicy",
        actions=("lambda:InvokeFunction",),
        resources=("{Cluster/Cluster/KubectlProvider/Handler.Arn}:*",),
        reason=VERSIONS_OF_A_FUNCTION,
        documentation=f"{REFERENCE}awslambda.html",
    ),
)
