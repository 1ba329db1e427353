"""What the Karpenter controller may do, as in the reference template of its version 1.14.

Karpenter names the cluster inside tag keys. A key of a CloudFormation map cannot hold a reference,
so a document with such keys is written as a JSON string, as the reference template does.

Two differences: the statements that let Karpenter make, tag and delete instance profiles are left
out, because CloudFormation owns the only one. And it may make the role of EC2 Spot, without which
an account that never used spot instances gets none: its guide has a person do that first.
"""

from __future__ import annotations

from typing import Any

from aws_cdk import Stack

from .._validation import is_token

Document = dict[str, Any]


def controller_documents(
    stack: Stack, *, cluster_name: str, node_role_arn: str, interruption_queue_arn: str
) -> dict[str, Document | str]:
    """Return the policy documents of the controller by their names in the reference template.

    One is a JSON string where the name of the cluster is a token.

    Args:
        stack: Stack whose partition, region and account are meant.
        cluster_name: Name of the cluster.
        node_role_arn: Role that Karpenter passes to its nodes.
        interruption_queue_arn: Queue with the notices of interruptions.
    """
    ec2 = f"arn:{stack.partition}:ec2:{stack.region}"
    cluster_arn = f"arn:{stack.partition}:eks:{stack.region}:{stack.account}:cluster/{cluster_name}"
    lifecycle = _document(*_node_lifecycle(ec2, cluster_name))
    return {
        "NodeLifecycle": stack.to_json_string(lifecycle) if is_token(cluster_name) else lifecycle,
        "IamIntegration": _document(
            {
                "Sid": "AllowPassingInstanceRole",
                "Effect": "Allow",
                "Resource": node_role_arn,
                "Action": "iam:PassRole",
                "Condition": {
                    "StringEquals": {
                        "iam:PassedToService": ["ec2.amazonaws.com", "ec2.amazonaws.com.cn"]
                    }
                },
            },
            {
                "Sid": "AllowCreatingTheRoleOfSpot",
                "Effect": "Allow",
                "Resource": f"arn:{stack.partition}:iam::{stack.account}:role/aws-service-role"
                "/spot.amazonaws.com/AWSServiceRoleForEC2Spot",
                "Action": "iam:CreateServiceLinkedRole",
                "Condition": {"StringEquals": {"iam:AWSServiceName": "spot.amazonaws.com"}},
            },
        ),
        "EksIntegration": _document(
            {
                "Sid": "AllowAPIServerEndpointDiscovery",
                "Effect": "Allow",
                "Resource": cluster_arn,
                "Action": "eks:DescribeCluster",
            }
        ),
        "Interruption": _document(
            {
                "Sid": "AllowInterruptionQueueActions",
                "Effect": "Allow",
                "Resource": interruption_queue_arn,
                "Action": ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"],
            }
        ),
        "ZonalShift": _document(
            {
                "Sid": "AllowZonalShiftStatusReadOnly",
                "Effect": "Allow",
                "Resource": "*",
                "Action": ["arc-zonal-shift:GetManagedResource"],
                "Condition": {"StringEquals": {"arc-zonal-shift:ResourceIdentifier": cluster_arn}},
            }
        ),
        "ResourceDiscovery": _document(*_resource_discovery(stack)),
    }


def wildcard_resources(document: Document | str) -> list[str]:
    """Return the resources with a wildcard that a document allows.

    Args:
        document: One of the controller's documents. Of a JSON string they are not known.
    """
    if isinstance(document, str):
        return []
    resources = [
        resource
        for statement in document["Statement"]
        for resource in (
            [statement["Resource"]]
            if isinstance(statement["Resource"], str)
            else statement["Resource"]
        )
    ]
    return [each for each in dict.fromkeys(resources) if each.endswith("*")]


def _document(*statements: Document) -> Document:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def _node_lifecycle(ec2: str, cluster_name: str) -> list[Document]:
    owned_resource = {f"aws:ResourceTag/kubernetes.io/cluster/{cluster_name}": "owned"}
    owned_request = {
        f"aws:RequestTag/kubernetes.io/cluster/{cluster_name}": "owned",
        "aws:RequestTag/eks:eks-cluster-name": cluster_name,
    }
    resource_of_a_pool = {"aws:ResourceTag/karpenter.sh/nodepool": "*"}
    request_of_a_pool = {"aws:RequestTag/karpenter.sh/nodepool": "*"}
    launched = [
        f"{ec2}:*:{kind}/*"
        for kind in (
            "fleet",
            "instance",
            "volume",
            "network-interface",
            "launch-template",
            "spot-instances-request",
        )
    ]
    return [
        {
            "Sid": "AllowScopedEC2InstanceAccessActions",
            "Effect": "Allow",
            "Resource": [
                f"{ec2}::image/*",
                f"{ec2}::snapshot/*",
                f"{ec2}:*:security-group/*",
                f"{ec2}:*:subnet/*",
                f"{ec2}:*:capacity-reservation/*",
                f"{ec2}:*:placement-group/*",
            ],
            "Action": ["ec2:RunInstances", "ec2:CreateFleet"],
        },
        {
            "Sid": "AllowScopedEC2LaunchTemplateAccessActions",
            "Effect": "Allow",
            "Resource": f"{ec2}:*:launch-template/*",
            "Action": ["ec2:RunInstances", "ec2:CreateFleet"],
            "Condition": {"StringEquals": owned_resource, "StringLike": resource_of_a_pool},
        },
        {
            "Sid": "AllowScopedEC2InstanceActionsWithTags",
            "Effect": "Allow",
            "Resource": launched,
            "Action": ["ec2:RunInstances", "ec2:CreateFleet", "ec2:CreateLaunchTemplate"],
            "Condition": {"StringEquals": owned_request, "StringLike": request_of_a_pool},
        },
        {
            "Sid": "AllowScopedResourceCreationTagging",
            "Effect": "Allow",
            "Resource": launched,
            "Action": "ec2:CreateTags",
            "Condition": {
                "StringEquals": {
                    **owned_request,
                    "ec2:CreateAction": ["RunInstances", "CreateFleet", "CreateLaunchTemplate"],
                },
                "StringLike": request_of_a_pool,
            },
        },
        {
            "Sid": "AllowScopedResourceTagging",
            "Effect": "Allow",
            "Resource": f"{ec2}:*:instance/*",
            "Action": "ec2:CreateTags",
            "Condition": {
                "StringEquals": owned_resource,
                "StringLike": resource_of_a_pool,
                "StringEqualsIfExists": {"aws:RequestTag/eks:eks-cluster-name": cluster_name},
                "ForAllValues:StringEquals": {
                    "aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]
                },
            },
        },
        {
            "Sid": "AllowScopedDeletion",
            "Effect": "Allow",
            "Resource": [f"{ec2}:*:instance/*", f"{ec2}:*:launch-template/*"],
            "Action": ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            "Condition": {"StringEquals": owned_resource, "StringLike": resource_of_a_pool},
        },
    ]


def _resource_discovery(stack: Stack) -> list[Document]:
    return [
        {
            "Sid": "AllowRegionalReadActions",
            "Effect": "Allow",
            "Resource": "*",
            "Action": [
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
            ],
            "Condition": {"StringEquals": {"aws:RequestedRegion": stack.region}},
        },
        {
            "Sid": "AllowSSMReadActions",
            "Effect": "Allow",
            "Resource": f"arn:{stack.partition}:ssm:{stack.region}::parameter/aws/service/*",
            "Action": "ssm:GetParameter",
        },
        {
            "Sid": "AllowPricingReadActions",
            "Effect": "Allow",
            "Resource": "*",
            "Action": "pricing:GetProducts",
        },
        {
            "Sid": "AllowUnscopedInstanceProfileListAction",
            "Effect": "Allow",
            "Resource": "*",
            "Action": "iam:ListInstanceProfiles",
        },
        {
            "Sid": "AllowInstanceProfileReadActions",
            "Effect": "Allow",
            "Resource": f"arn:{stack.partition}:iam::{stack.account}:instance-profile/*",
            "Action": "iam:GetInstanceProfile",
        },
    ]
