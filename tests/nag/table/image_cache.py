"""Wildcards of an image cache: its build, the instance that pulls, and its custom resource."""

from __future__ import annotations

from .rows import MANAGED, REFERENCE, VERSIONS_OF_A_FUNCTION, Wildcard


def _cache(
    who: str,
    role: str,
    actions: tuple[str, ...],
    resources: tuple[str, ...],
    reason: str,
    documentation: str,
    *,
    conditions: tuple[str, ...] = (),
) -> Wildcard:
    return Wildcard(
        who=who,
        where=f"*ImageCache/{role}/DefaultPolicy",
        actions=actions,
        resources=resources,
        conditions=conditions,
        reason=reason,
        documentation=documentation,
    )


_EC2 = f"{REFERENCE}amazonec2.html"
_CACHE_TAG = "sd.image-cache/name"
_INSTANCES = "arn:aws:ec2:{region}:{account}:instance/*"
_VOLUMES = "arn:aws:ec2:{region}:{account}:volume/*"
_SNAPSHOTS = "arn:aws:ec2:{region}::snapshot/*"
_NAMED_LATER = "EC2 chooses the id when it makes it."


IMAGE_CACHE: tuple[Wildcard, ...] = (
    _cache(
        "Instance that pulls images for a snapshot",
        "Builder/Role",
        (
            "ssm:UpdateInstanceInformation",
            *(
                f"ssmmessages:{verb}{channel}Channel"
                for verb in ("Create", "Open")
                for channel in ("Control", "Data")
            ),
            *(
                f"ec2messages:{what}"
                for what in (
                    "AcknowledgeMessage",
                    "DeleteMessage",
                    "FailMessage",
                    "GetEndpoint",
                    "GetMessages",
                    "SendReply",
                )
            ),
        ),
        ("*",),
        "The agent of Systems Manager asks for its own instance. Only the first action, by which "
        "an instance reports itself, has a resource, and its id is not known before.",
        f"{MANAGED}AmazonSSMManagedInstanceCore.html",
    ),
    _cache(
        "Instance that pulls images for a snapshot",
        "Builder/Role",
        ("ecr:GetAuthorizationToken",),
        ("*",),
        "A token is for all registries and has no resource; what may be pulled is said elsewhere.",
        f"{REFERENCE}amazonelasticcontainerregistry.html",
    ),
    _cache(
        "Instance that pulls images for a snapshot",
        "Builder/Role",
        ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"),
        ("arn:aws:ecr:*:*:repository/bottlerocket-*",),
        "Bottlerocket pulls its own host containers from AWS, whose account differs from region to "
        "region.",
        "https://bottlerocket.dev/en/os/latest/concepts/host-containers/",
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ec2:RunInstances",),
        ("arn:aws:ec2:{region}:{account}:network-interface/*",),
        f"{_NAMED_LATER} It must be launched from the cache's own launch template.",
        _EC2,
        conditions=("ArnEquals ec2:LaunchTemplate",),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ec2:RunInstances",),
        (_INSTANCES, _VOLUMES),
        f"{_NAMED_LATER} It must be launched from the cache's own launch template and get its tag.",
        _EC2,
        conditions=("ArnEquals ec2:LaunchTemplate", f"StringEquals aws:RequestTag/{_CACHE_TAG}"),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ec2:CreateTags",),
        (_INSTANCES, _VOLUMES, _SNAPSHOTS),
        f"{_NAMED_LATER} Tags can be set in the call that makes it and in no other, and must "
        "include the cache's own.",
        _EC2,
        conditions=(
            f"StringEquals aws:RequestTag/{_CACHE_TAG}",
            "StringEquals ec2:CreateAction",
        ),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ssm:SendCommand",),
        (_INSTANCES,),
        f"{_NAMED_LATER} It must have the tag of the cache, and the document is one.",
        f"{REFERENCE}awssystemsmanager.html",
        conditions=(f"StringEquals ssm:resourceTag/{_CACHE_TAG}",),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ec2:StopInstances",),
        (_INSTANCES,),
        f"{_NAMED_LATER} It must have the tag of the cache.",
        _EC2,
        conditions=(f"StringEquals aws:ResourceTag/{_CACHE_TAG}",),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ec2:CreateSnapshot",),
        (_VOLUMES,),
        f"{_NAMED_LATER} It must have the tag of the cache.",
        _EC2,
        conditions=(f"StringEquals aws:ResourceTag/{_CACHE_TAG}",),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        ("ec2:CreateSnapshot",),
        (_SNAPSHOTS,),
        f"{_NAMED_LATER} It must get the tag of the cache.",
        _EC2,
        conditions=(f"StringEquals aws:RequestTag/{_CACHE_TAG}",),
    ),
    _cache(
        "Build of a snapshot",
        "StateMachineRole",
        (
            "ec2:DescribeSnapshots",
            "ec2:DescribeVolumes",
            "ssm:DescribeInstanceInformation",
            "ssm:GetCommandInvocation",
        ),
        ("*",),
        "EC2 and Systems Manager have no resource for what only describes.",
        _EC2,
    ),
    *(
        each
        for who, role in (
            ("Build of a snapshot", "StateMachineRole"),
            ("Clean-up after a build", "Cleanup/Role"),
        )
        for each in (
            _cache(
                who,
                role,
                (
                    "logs:CreateLogDelivery",
                    "logs:GetLogDelivery",
                    "logs:UpdateLogDelivery",
                    "logs:DeleteLogDelivery",
                    "logs:ListLogDeliveries",
                    "logs:PutResourcePolicy",
                    "logs:DescribeResourcePolicies",
                    "logs:DescribeLogGroups",
                ),
                ("*",),
                "By them Step Functions writes the logs of a state machine. CloudWatch Logs has no "
                "resource for the delivery of logs.",
                "https://docs.aws.amazon.com/step-functions/latest/dg/cw-logs.html",
            ),
            _cache(
                who,
                role,
                (
                    "xray:PutTraceSegments",
                    "xray:PutTelemetryRecords",
                    "xray:GetSamplingRules",
                    "xray:GetSamplingTargets",
                ),
                ("*",),
                "X-Ray has no resource for the traces that are sent to it, nor for how many.",
                "https://docs.aws.amazon.com/step-functions/latest/dg/concepts-xray-tracing.html",
            ),
        )
    ),
    *(
        each
        for who, role in (
            ("Build of a snapshot", "StateMachineRole"),
            ("Clean-up after a build", "Cleanup/Role"),
            ("Custom resource of an image cache", "Provider/Role"),
        )
        for each in (
            _cache(
                who,
                role,
                ("ec2:TerminateInstances",),
                (_INSTANCES,),
                f"{_NAMED_LATER} It must have the tag of the cache.",
                _EC2,
                conditions=(f"StringEquals aws:ResourceTag/{_CACHE_TAG}",),
            ),
            _cache(
                who,
                role,
                ("ec2:DescribeInstances",),
                ("*",),
                "EC2 has no resource for what only describes.",
                _EC2,
            ),
        )
    ),
    _cache(
        "Custom resource of an image cache",
        "Provider/Role",
        ("ec2:DeleteSnapshot",),
        (_SNAPSHOTS,),
        f"{_NAMED_LATER} It must have the tag of the cache.",
        _EC2,
        conditions=(f"StringEquals aws:ResourceTag/{_CACHE_TAG}",),
    ),
    _cache(
        "Custom resource of an image cache",
        "Provider/Role",
        ("ec2:DescribeSnapshots",),
        ("*",),
        "EC2 has no resource for what only describes.",
        _EC2,
    ),
    _cache(
        "Custom resource of an image cache",
        "Provider/Role",
        ("states:DescribeExecution", "states:StopExecution"),
        ("arn:aws:states:{region}:{account}:execution:{Runtime/ImageCache/StateMachine.Name}:*",),
        "Executions of this one state machine are named after requests of CloudFormation.",
        f"{REFERENCE}awsstepfunctions.html",
    ),
    *(
        _cache(
            "AWS CDK's framework for custom resources",
            f"Provider/{role}",
            ("lambda:InvokeFunction",),
            tuple(f"{{Runtime/ImageCache/Provider/{each}.Arn}}:*" for each in functions),
            VERSIONS_OF_A_FUNCTION,
            f"{REFERENCE}awslambda.html",
        )
        for role, functions in (
            ("FrameworkOnEventRole", ("OnEvent", "IsComplete")),
            ("FrameworkIsCompleteRole", ("OnEvent", "IsComplete")),
            (
                "Framework/waiter-state-machine/Role",
                ("Framework/framework-isComplete", "Framework/framework-onTimeout"),
            ),
        )
    ),
)
