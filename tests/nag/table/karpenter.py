"""Wildcards of the Karpenter controller: those of its reference template."""

from __future__ import annotations

from .rows import Wildcard

_KARPENTER = "https://karpenter.sh/v1.14/reference/cloudformation/#"
_CLUSTER_TAG = "kubernetes.io/cluster/{cluster}"


def _karpenter(
    sid: str,
    policy: str,
    actions: tuple[str, ...],
    resources: tuple[str, ...],
    reason: str,
    *,
    conditions: tuple[str, ...] = (),
) -> Wildcard:
    return Wildcard(
        who="Karpenter controller",
        where=f"Cluster/Karpenter/Controller/{policy}",
        actions=actions,
        resources=resources,
        conditions=conditions,
        reason=reason,
        documentation=_KARPENTER + sid.lower(),
    )


_LAUNCHED = tuple(
    f"arn:aws:ec2:{{region}}:*:{kind}/*"
    for kind in (
        "fleet",
        "instance",
        "volume",
        "network-interface",
        "launch-template",
        "spot-instances-request",
    )
)
_OWNED = (
    f"StringEquals aws:ResourceTag/{_CLUSTER_TAG}",
    "StringLike aws:ResourceTag/karpenter.sh/nodepool",
)
_TO_BE_OWNED = (
    f"StringEquals aws:RequestTag/{_CLUSTER_TAG}",
    "StringEquals aws:RequestTag/eks:eks-cluster-name",
    "StringLike aws:RequestTag/karpenter.sh/nodepool",
)

KARPENTER: tuple[Wildcard, ...] = (
    _karpenter(
        "AllowScopedEC2InstanceAccessActions",
        "NodeLifecycle",
        ("ec2:RunInstances", "ec2:CreateFleet"),
        (
            "arn:aws:ec2:{region}::image/*",
            "arn:aws:ec2:{region}::snapshot/*",
            *(
                f"arn:aws:ec2:{{region}}:*:{kind}/*"
                for kind in (
                    "security-group",
                    "subnet",
                    "capacity-reservation",
                    "placement-group",
                )
            ),
        ),
        "A launch names what it uses: an image that AWS owns, and snapshots, subnets and security "
        "groups that node classes choose. None of it is made or changed by these actions.",
    ),
    _karpenter(
        "AllowScopedEC2LaunchTemplateAccessActions",
        "NodeLifecycle",
        ("ec2:RunInstances", "ec2:CreateFleet"),
        ("arn:aws:ec2:{region}:*:launch-template/*",),
        "Karpenter makes a launch template when it launches, so that its id is not known before. "
        "The tags limit it to templates that Karpenter made for this cluster.",
        conditions=_OWNED,
    ),
    _karpenter(
        "AllowScopedEC2InstanceActionsWithTags",
        "NodeLifecycle",
        ("ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"),
        _LAUNCHED,
        "EC2 gives an id to what it makes only then. The tags limit it to what is made for this "
        "cluster and a NodePool.",
        conditions=_TO_BE_OWNED,
    ),
    _karpenter(
        "AllowScopedResourceCreationTagging",
        "NodeLifecycle",
        ("ec2:CreateTags",),
        _LAUNCHED,
        "EC2 gives an id to what it makes only then. Tags can be set in the call that makes the "
        "resource and in no other, and must be those of this cluster.",
        conditions=(*_TO_BE_OWNED, "StringEquals ec2:CreateAction"),
    ),
    _karpenter(
        "AllowScopedResourceTagging",
        "NodeLifecycle",
        ("ec2:CreateTags",),
        ("arn:aws:ec2:{region}:*:instance/*",),
        "Instances come and go. The tags limit it to those of this cluster, and three tags that "
        "Karpenter keeps are all that can be set.",
        conditions=(
            *_OWNED,
            "StringEqualsIfExists aws:RequestTag/eks:eks-cluster-name",
            "ForAllValues:StringEquals aws:TagKeys",
        ),
    ),
    _karpenter(
        "AllowScopedDeletion",
        "NodeLifecycle",
        ("ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"),
        (
            "arn:aws:ec2:{region}:*:instance/*",
            "arn:aws:ec2:{region}:*:launch-template/*",
        ),
        "Instances and launch templates come and go. The tags limit it to those that Karpenter "
        "made for this cluster.",
        conditions=_OWNED,
    ),
    _karpenter(
        "AllowZonalShiftStatusReadOnly",
        "ZonalShift",
        ("arc-zonal-shift:GetManagedResource",),
        ("*",),
        "The service has resources for load balancers only. The condition names this cluster.",
        conditions=("StringEquals arc-zonal-shift:ResourceIdentifier",),
    ),
    _karpenter(
        "AllowRegionalReadActions",
        "ResourceDiscovery",
        (
            "ec2:DescribeCapacityReservations",
            "ec2:DescribeImages",
            "ec2:DescribeInstances",
            "ec2:DescribeInstanceStatus",
            "ec2:DescribeInstanceTypeOfferings",
            "ec2:DescribeInstanceTypes",
            "ec2:DescribeLaunchTemplates",
            "ec2:DescribePlacementGroups",
            "ec2:DescribeSecurityGroups",
            "ec2:DescribeSpotPriceHistory",
            "ec2:DescribeSubnets",
        ),
        ("*",),
        "EC2 has no resource for what only describes. The condition names this region.",
        conditions=("StringEquals aws:RequestedRegion",),
    ),
    _karpenter(
        "AllowSSMReadActions",
        "ResourceDiscovery",
        ("ssm:GetParameter",),
        ("arn:aws:ssm:{region}::parameter/aws/service/*",),
        "Under this path are only parameters that AWS publishes, such as the newest image of each "
        "Bottlerocket variant: whichever one a node class names.",
    ),
    _karpenter(
        "AllowPricingReadActions",
        "ResourceDiscovery",
        ("pricing:GetProducts",),
        ("*",),
        "The price list is public and has no resources.",
    ),
    _karpenter(
        "AllowUnscopedInstanceProfileListAction",
        "ResourceDiscovery",
        ("iam:ListInstanceProfiles",),
        ("*",),
        "IAM has no resource for a list.",
    ),
    _karpenter(
        "AllowInstanceProfileReadActions",
        "ResourceDiscovery",
        ("iam:GetInstanceProfile",),
        ("arn:aws:iam::{account}:instance-profile/*",),
        "Karpenter looks the profile of a node class up by its name, and goes through all to find "
        "those that it made itself. It can change none: CloudFormation owns the only one.",
    ),
)
